/**
 * Mutants of what is written and synced, in which order, and of what becomes of files and slots.
 */
import type { Mutant } from "./Mutant.ts"

export const disk: ReadonlyArray<Mutant> = [
  {
    name: "log sync dropped",
    breaks: "A commit is acknowledged as synced, and its group was only written.",
    file: "actors/files/LogWriter.ts",
    find: ": file.sync\n",
    replace: ": Effect.void\n",
    caughtBy: { file: "segments.crash" }
  },
  {
    name: "log write not durable",
    breaks:
      "A commit is acknowledged as synced, and the one write that was to make it so was an ordinary one.",
    file: "actors/files/LogWriter.ts",
    find: "file.writeDurably(buffers, position)",
    replace: "file.write(buffers, position)",
    caughtBy: { file: "segments.crash" }
  },
  {
    name: "unsynced groups left out of a durable write",
    breaks:
      "A commit is acknowledged as synced, and a mark before it that was never synced breaks the chain to it.",
    file: "actors/files/LogWriter.ts",
    find: "const all = this.groups.length === 0 ? groups : [...this.groups, ...groups]",
    replace: "const all = groups",
    caughtBy: { file: "segments.crash" }
  },
  {
    name: "unsynced groups taken along twice",
    breaks: "Of two writes beside each other the second puts its groups where those of the first stand.",
    file: "actors/files/LogWriter.ts",
    find: "    this.taken()\n    this.underWay++\n",
    replace: "    this.underWay++\n",
    caughtBy: { file: "flights" }
  },
  {
    name: "write landed before its elder",
    breaks: "A commit is acknowledged as synced, and what the log has before it is not on the disk.",
    file: "actors/commit/Flights.ts",
    find: "if (first?.exit === undefined) return undefined",
    replace:
      "if (first?.exit === undefined) { const { second } = this; this.second = undefined; return second }",
    caughtBy: { file: "flights" }
  },
  {
    name: "landed behind a failure",
    breaks: "A commit is acknowledged as synced, and the write before it failed.",
    file: "actors/GroupCommit.ts",
    find: "return failure._tag === \"Some\" ? poisoned(failure.value) : failed(landed.exit.cause)",
    replace: "failure._tag === \"Some\" ? poisoned(failure.value) : failed(landed.exit.cause)",
    caughtBy: { file: "flights" }
  },
  {
    name: "directory sync dropped",
    breaks: "A segment is written to before its name is durable.",
    file: "actors/files/Segments.ts",
    find: "        isRecycled ? this.takingSpare(named) : named,\n        disk.syncDirectory(directory)\n",
    replace: "        isRecycled ? this.takingSpare(named) : named,\n        Effect.void\n",
    caughtBy: { file: "segments.crash" }
  },
  {
    name: "spare renamed before its header is synced",
    breaks: "A recycled segment gets its name with the header of an older life.",
    file: "actors/files/Segments.ts",
    find: "        Effect.andThen(file.sync),\n",
    replace: "",
    caughtBy: { file: "segments.crash" }
  },
  {
    name: "seal before the next segment",
    breaks: "A seal promises a segment that a crash leaves without a name.",
    file: "actors/files/Segments.ts",
    find: "        if (next !== undefined) yield* this.create(next)\n",
    replace: "",
    caughtBy: { file: "segments.crash" }
  },
  {
    name: "segment recycled while its old name may come back",
    breaks: "A crash gives a recycled file, with another header by now, its old name back.",
    file: "actors/files/Segments.ts",
    find: "        disk.syncDirectory(directory)\n      )\n      const kept",
    replace: "        Effect.void\n      )\n      const kept",
    caughtBy: { file: "segments.crash" }
  },
  {
    name: "walked segment given up",
    breaks: "A segment goes while it is read through.",
    file: "actors/files/Segments.ts",
    find: "        if (segment.sequence === this.walked) break\n",
    replace: "",
    caughtBy: { file: "segments" }
  },
  {
    name: "page file sync dropped",
    breaks: "A superblock refers to images that no sync has covered.",
    file: "actors/Flush.ts",
    find: "return Effect.tapError(this.options.file.sync, () =>",
    replace: "return Effect.tapError(Effect.asVoid(this.options.file.size), () =>",
    caughtBy: { file: "flush" }
  },
  {
    name: "failed page sync forgotten",
    breaks: "Slots that a failed sync left in doubt are taken for written.",
    file: "actors/Flush.ts",
    find: "for (const slot of covered) this.suspects.add(slot)",
    replace: "for (const slot of covered) this.suspects.delete(slot)",
    caughtBy: { file: "flush" }
  },
  {
    name: "staging not given back",
    breaks: "Images that were written count as waiting for ever, so that at last no write is taken.",
    file: "actors/Flush.ts",
    find: "        this.held -= bytesOf(job)\n",
    replace: "",
    caughtBy: { file: "flush", hangs: "may hang" }
  },
  {
    name: "superblock sync dropped",
    breaks: "Log and slots of the older checkpoint are given up for one that is not durable.",
    file: "actors/Checkpoint.ts",
    find: "      Effect.andThen(superblockFile.sync),\n",
    replace: "",
    caughtBy: { file: "olderCheckpoint" }
  },
  {
    name: "superblock before the pages",
    breaks: "The superblock is written before what it refers to is synced.",
    file: "actors/Checkpoint.ts",
    find:
      "    return barrier.pipe(\n      Effect.andThen(superblockFile.write([bytes], superblockOffset(superblock.slot))),\n",
    replace:
      "    return superblockFile.write([bytes], superblockOffset(superblock.slot)).pipe(\n      Effect.andThen(barrier),\n",
    caughtBy: { file: "olderCheckpoint" }
  },
  {
    name: "superblock into the newer slot",
    breaks: "A torn superblock takes the only checkpoint with it.",
    file: "actors/Checkpoint.ts",
    find: "slot: this.newest.slot === 0 ? 1 : 0,",
    replace: "slot: this.newest.slot,",
    caughtBy: { file: "olderCheckpoint" }
  },
  {
    name: "log given up past the older cut",
    breaks: "The older of two checkpoints has no log to replay to the end.",
    file: "actors/Checkpoint.ts",
    find:
      "  private begin({ catalog }: CutImage): Superblock[\"begin\"] {\n    const { lsn, sequence } = this.newest.cut\n",
    replace:
      "  private begin({ catalog, cut }: CutImage): Superblock[\"begin\"] {\n    const { lsn, sequence } = cut\n",
    caughtBy: { file: "olderCheckpoint" }
  },
  {
    name: "slots of the older checkpoint reused",
    breaks: "What only the older checkpoint refers to is overwritten.",
    file: "actors/Checkpoint.ts",
    find: "slots.publish(this.older?.version ?? 0)",
    replace: "slots.publish(this.newest.version)",
    caughtBy: { file: "olderCheckpoint" }
  },
  {
    name: "superblock not confirmed",
    breaks: "What is opened may be a superblock that only the page cache has.",
    file: "actors/opening/Restore.ts",
    find: "Effect.andThen(file.write([bytes], superblockOffset(newest.slot)), file.sync)",
    replace: "Effect.asVoid(Effect.sync(() => superblockOffset(newest.slot) + bytes.length))",
    caughtBy: { file: "olderCheckpoint" }
  },
  {
    name: "slot reused early",
    breaks: "A slot that the older checkpoint refers to is handed out.",
    file: "tree/file/PageFile.ts",
    find: "if ((this.version[slot] as number) > older) continue",
    replace: "if ((this.version[slot] as number) > older + 1) continue",
    caughtBy: { file: "pageFile" }
  },
  {
    name: "slot reused at once",
    breaks: "A slot that a checkpoint was born with is free as soon as its page has moved on.",
    file: "tree/file/PageFile.ts",
    find: "if ((this.version[slot] as number) >= version)",
    replace: "if ((this.version[slot] as number) >= version - 1)",
    caughtBy: { file: "pageFile" }
  },
  {
    name: "epoch not waited for",
    breaks: "A slot is written anew while somebody reads it.",
    file: "tree/file/PageFile.ts",
    find: "this.epoch.retire(slot)",
    replace: "this.release(slot)",
    caughtBy: { file: "pageFile" }
  },
  {
    name: "block freed under a pin",
    breaks: "What is retired while the newest epoch has no pin does not wait for older pins.",
    file: "tree/memory/Epoch.ts",
    find: ": this.epochs[newest - 1]\n",
    replace: ": undefined\n",
    caughtBy: { file: "epoch" }
  },
  {
    name: "lock not taken",
    breaks: "Two processes open one store.",
    file: "disk/NodeDisk.ts",
    find: "lock: (path, mode = \"alone\") => counted(lock(at(path), mode)),",
    replace: "lock: (path, mode) => Effect.asVoid(Effect.succeed([lock, path, mode])),",
    caughtBy: { file: "refusals", tests: "another process" }
  },
  {
    name: "lock left to the collector",
    breaks: "Another process opens a store that is open, once nothing refers to the program that opened it.",
    file: "disk/NodeLock.ts",
    find: "  held.add(database)\n",
    replace: "",
    caughtBy: { file: "disk", tests: "the lock of NodeDisk" }
  },
  {
    name: "reserve taken from the log",
    breaks:
      "An eviction on a full disk takes the space of a segment that the log has begun, and the store fails.",
    file: "actors/files/Reserve.ts",
    find: "const mayGo = this.segmentsLeft > 0",
    replace: "const mayGo = true",
    caughtBy: { file: "reserveFile" }
  },
  {
    name: "values moved on a full disk without asking",
    breaks: "Values that are moved take the last of the log, and the store fails.",
    file: "actors/Wal.ts",
    find: "    if (refusal !== undefined) return message.done(Exit.fail(refusal))\n",
    replace: "",
    caughtBy: { file: "shortage" }
  },
  {
    name: "whole reserve taken for gone",
    breaks: "A store that is opened on a full disk takes no commits any more, whatever is removed.",
    file: "actors/files/ReserveFile.ts",
    find: "missing > Math.max(0, room)",
    replace: "missing > room",
    caughtBy: { file: "reserveFile" }
  },
  {
    name: "free slots taken for room of the log",
    breaks: "A large put is let in because the page file has slots to spare, and the log has no room for it.",
    file: "actors/files/Reserve.ts",
    find: "return logRoom.holds(bytes, 0) && 2",
    replace: "return 2",
    caughtBy: { file: "reserveFile" }
  }
]
