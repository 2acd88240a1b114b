/**
 * Mutants of what programs see: transactions, sessions, indexes, expiry, large values, loads.
 */
import type { Mutant } from "./Mutant.ts"

export const program: ReadonlyArray<Mutant> = [
  {
    name: "wrong range validated",
    breaks: "A range that was read is validated as if it were empty.",
    file: "actors/commit/Window.ts",
    find: "block.has(space, lower, upper, at)",
    replace: "block.has(space, lower, lower, at)",
    caughtBy: { file: "window" }
  },
  {
    name: "no range validated",
    breaks: "What was inserted into a range that was read is not noticed.",
    file: "actors/commit/Window.ts",
    find: "    for (const range of ranges) if (this.isWritten(range, at)) return this.names[range.space]\n",
    replace:
      "    if (ranges.length < 0) return this.names[this.isWritten(ranges[0] as RangeRead, at) ? 0 : 1]\n",
    caughtBy: { file: "window" }
  },
  {
    name: "conflict one off",
    breaks: "A commit at the LSN of a snapshot, which does not see it, is in no conflict with it.",
    file: "actors/commit/Window.ts",
    find: "if ((block.lsns[index] as number) < at) return -1",
    replace: "if ((block.lsns[index] as number) <= at) return -1",
    caughtBy: { file: "window" }
  },
  {
    name: "clear in no conflict",
    breaks: "Who read from a keyspace that was cleared since may commit.",
    file: "actors/commit/Window.ts",
    find: "    this.whole[space] = lsn\n",
    replace: "    this.whole[space] = Math.min(lsn, 0)\n",
    caughtBy: { file: "window" }
  },
  {
    name: "window forgets too early",
    breaks: "Commits are forgotten that an open transaction must be validated against.",
    file: "actors/commit/Window.ts",
    find: "(this.blocks[count] as Block).newest < lsn) count++",
    replace: "(this.blocks[count] as Block).newest < lsn + 512) count++",
    caughtBy: { file: "window" }
  },
  {
    name: "commit before its verdict",
    breaks: "A transaction that lost is appended all the same.",
    file: "actors/Wal.ts",
    find: "    if (!isValid) return done(Exit.succeed(undefined))\n",
    replace: "    if (!isValid) this.group.complete()\n",
    caughtBy: { file: "contention" }
  },
  {
    name: "turn does not hold others back",
    breaks: "Somebody commits in between while a transaction that lost twice has the turn.",
    file: "actors/commit/Turns.ts",
    find: "    return this.held !== undefined\n",
    replace: "    return false\n",
    caughtBy: { file: "contention" }
  },
  {
    name: "retry not woken",
    breaks: "A body that waits for a range to change sleeps on when something is written there.",
    file: "actors/commit/Watch.ts",
    find: "if (waiter.reads.ranges.some((range) => covers(range, space, key))) this.rouse(waiter)",
    replace: "if (!waiter.reads.ranges.some((range) => covers(range, space, key))) this.rouse(waiter)",
    caughtBy: { file: "contention", hangs: "may hang" }
  },
  {
    name: "savepoint not taken back",
    breaks: "What a step wrote that failed is committed with the others.",
    file: "WriteSet.ts",
    find:
      "    while (this.undo.length > mark.changes) this.undo.pop()?.undo()\n    this.bytes = mark.bytes\n",
    replace: "    this.bytes = mark.bytes\n",
    caughtBy: { file: "tx.steps" }
  },
  {
    name: "serial accepted twice",
    breaks: "The last serial of a session is taken again by whoever opens it next.",
    file: "actors/commit/Sessions.ts",
    find: "new Serials(known ?? { id: 0, name, serial: 0, lsn: 0, millis: 0 })",
    replace:
      "new Serials(known === undefined ? { id: 0, name, serial: 0, lsn: 0, millis: 0 } : { ...known, serial: Math.max(0, known.serial - 1) })",
    caughtBy: { file: "session" }
  },
  {
    name: "serials forgotten by replay",
    breaks: "A session that committed above the checkpoint is told of the one before.",
    file: "tree/SessionReplay.ts",
    find: "    this.byId.set(sessionId, { ...known, serial, lsn, millis })\n",
    replace: "    this.byId.set(sessionId, { ...known, lsn, millis })\n",
    caughtBy: { file: "sessionReplay" }
  },
  {
    name: "index entry not removed",
    breaks: "An index finds a record by what it no longer says.",
    file: "indexes/Kept.ts",
    find: "of [[old, now, \"remove\"], [now, old, \"put\"]] as const",
    replace: "of [[now, old, \"put\"]] as const",
    caughtBy: { file: "indexes" }
  },
  {
    name: "unique key taken twice",
    breaks: "Two records have one key of a unique index.",
    file: "indexes/Kept.ts",
    find: "asks ||= lanes.some((lane) => lane.unique)",
    replace: "asks ||= lanes.length < 0",
    caughtBy: { file: "indexes" }
  },
  {
    name: "expired record read as live",
    breaks: "A record whose time has come is read until the janitor comes by.",
    file: "View.ts",
    find: "    if (expiry <= this.now) return undefined\n    const lsn",
    replace: "    const lsn",
    caughtBy: { file: "expiry" }
  },
  {
    name: "live record swept",
    breaks: "The janitor removes what has not expired yet.",
    file: "tree/write/Expired.ts",
    find: "    if (expiry > now) this.next = Math.min(this.next, expiry)\n    else this.keys",
    replace: "    if (expiry > now) this.next = Math.min(this.next, expiry)\n    this.keys",
    caughtBy: { file: "expiry.sweep" }
  },
  {
    name: "large value relocated without looking",
    breaks: "A value that was overwritten since comes back when its old place is emptied.",
    file: "actors/apply/Charges.ts",
    find: "    if (!same) return Absent\n",
    replace: "",
    caughtBy: { file: "charges" }
  },
  {
    name: "old place given up under a reader",
    breaks: "The old place of a value that was moved goes while somebody is about to read it.",
    file: "actors/apply/Charges.ts",
    find: "        else moved.push({ treeId, base, bytes, since })\n",
    replace: "        else generations.dropLarge(treeId, base, bytes)\n",
    caughtBy: { file: "charges" }
  },
  {
    name: "rest of a load",
    breaks: "What does not fill a transaction of its own at the end of a load is never committed.",
    file: "Bulk.ts",
    find: "return Effect.flatMap(this.commit, () => {",
    replace: "return Effect.flatMap(Exit.void, () => {",
    caughtBy: { file: "bulk" }
  },
  {
    name: "packed padding",
    breaks: "What pads a packed key is whatever stood there before.",
    file: "log/PackedPuts.ts",
    find: "bytes[byte] = 0\n",
    replace: "bytes[byte] = bytes[byte] as number\n",
    caughtBy: { file: "packedPuts" }
  },
  {
    name: "memory of others not counted",
    breaks: "The pages do not give way for what others hold of the one budget.",
    file: "tree/memory/Budget.ts",
    find: "const left = Math.floor((this.memoryBytes - this.counted) / arena.pageBytes)",
    replace: "const left = Math.floor(this.memoryBytes / arena.pageBytes)",
    caughtBy: { file: "budget" }
  },
  {
    name: "memory not given back",
    breaks: "What others held once stays theirs.",
    file: "tree/memory/Budget.ts",
    find: "this.counted - Math.ceil(this.counted / forgetParts)",
    replace: "this.counted",
    caughtBy: { file: "budget" }
  },
  {
    name: "raw writes refused for others' requests",
    breaks:
      "A raw write is refused whenever a request stands in the mailbox, though nothing keeps it from being handled.",
    file: "Raw.ts",
    find: "rounds === mostRounds || !wal.drain()",
    replace: "rounds < mostRounds || !wal.drain()",
    caughtBy: { file: "rawWrites" }
  },
  {
    name: "raw writes where only reading is allowed",
    breaks: "Writes through the raw door of a store that is only read are acknowledged, and lost.",
    file: "Doors.ts",
    find: "closed : readOnly ?? fuse.failure",
    replace: "closed : fuse.failure",
    caughtBy: { file: "readOnly" }
  },
  {
    name: "others go on in the middle of a call",
    breaks:
      "Whoever is replied to because of a request that is handled at once runs before its caller is answered.",
    file: "actors/loop/Actor.ts",
    find:
      "    this.handling = true\n    this.receive(message)\n    this.settle()\n    this.handling = false\n"
      + "    this.busy = false\n    this.admit()\n    this.rouseLater()",
    replace:
      "    this.receive(message)\n    this.settle()\n    this.busy = false\n    this.admit()\n    this.rouseLater()",
    caughtBy: { file: "rawWrites" }
  },
  {
    name: "next serial begun in the middle of a commit",
    breaks:
      "The body of a session's next transaction runs inside the Wal, and what it asks there is refused or lost.",
    file: "actors/Wal.ts",
    find: "() => this.wake(session.visible)",
    replace: "session.visible",
    caughtBy: { file: "rawWrites" }
  },
  {
    name: "cut behind those who wait for it",
    breaks:
      "A checkpoint asks for its cut through the mailbox, which is full of commits that wait for the checkpoint.",
    file: "actors/Wal.ts",
    find: "cut: Actor.ask(reserved,",
    replace: "cut: Actor.ask(actor,",
    caughtBy: { file: "checkpointWaits", hangs: "may hang" }
  },
  {
    name: "checkpoints beside a backup",
    breaks: "A checkpoint writes over what the superblocks that are copied refer to.",
    file: "actors/Checkpoint.ts",
    find: "          running = wasHeld = true\n          hold.state",
    replace: "          hold.state",
    caughtBy: { file: "backup" }
  },
  {
    name: "backups one after another",
    breaks: "While backups wait for each other no checkpoint begins, and commits wait for all of them.",
    file: "actors/Checkpoint.ts",
    find: "!(wasHeld && waiting.length > 0)",
    replace: "!(wasHeld && waiting.length < 0)",
    caughtBy: { file: "backup" }
  },
  {
    name: "backup without its last commits",
    breaks: "What was acknowledged in memory when a backup was asked for is not in it.",
    file: "Backup.ts",
    find: "wal.awaitCut(machine.visible())",
    replace: "wal.awaitCut(0)",
    caughtBy: { file: "backup" }
  },
  {
    name: "version table kept for ever",
    breaks:
      "What a burst of older versions took is given back only if nothing was displaced when it was looked at.",
    file: "tree/past/Entries.ts",
    find: "    if (this.table.shrink()) this.unordered = []\n",
    replace: "",
    caughtBy: { file: "spares" }
  },
  {
    name: "spares that were needed are given back",
    breaks: "Buffers that each group of the log needs are made anew, and V8 marks the whole heap for them.",
    file: "Spares.ts",
    find: "this.waiting.splice(0, this.fewest)",
    replace: "this.waiting.splice(0)",
    caughtBy: { file: "spares" }
  },
  {
    name: "hooks wait for the next commit",
    breaks:
      "The hooks of a transaction that changed nothing wait for a commit that may never come, and so does closing.",
    file: "Attempt.ts",
    find: "Math.min(lsn + 1, machine.parts.tail.end)",
    replace: "lsn + 1",
    caughtBy: {
      file: "tx.steps",
      tests: "in memory.*run after a transaction whose writes change nothing",
      hangs: "may hang"
    }
  },
  {
    name: "job given to a lane unseen",
    breaks: "A lane that was taken off between its look for a job and its rest sleeps on.",
    file: "actors/loop/Lanes.ts",
    find: "    if (this.jobs.length > 0) return resume(Effect.void)\n",
    replace: "",
    caughtBy: { file: "lanes", hangs: "may hang" }
  },
  {
    name: "serial told unheard",
    breaks: "A serial that is answered while its fiber is taken off on its way into the line waits for ever.",
    file: "Once.ts",
    find: "      if (answer !== undefined) resume(Effect.succeed(answer))\n",
    replace: "",
    caughtBy: { file: "session.order", hangs: "may hang" }
  },
  {
    name: "end of what was read left to its reader",
    breaks:
      "Whoever changes a key that a range has answered takes it out of what his transaction is validated by.",
    file: "own/OwnView.ts",
    find: "? lower : key.slice()",
    replace: "? lower : key",
    caughtBy: { file: "tx.own", tests: "is the reader's to change" }
  },
  {
    name: "place of a scan left to its reader",
    breaks: "Whoever changes a key that a range has answered moves the range.",
    file: "Overlay.ts",
    find: "stored.at(-1)?.key.slice()",
    replace: "stored.at(-1)?.key",
    caughtBy: { file: "tx.own", tests: "is the reader's to change" }
  }
]
