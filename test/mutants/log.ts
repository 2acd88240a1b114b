/**
 * Mutants of the log: what a group is believed for, where the log ends, what replay makes of it, who is told.
 */
import type { Mutant } from "./Mutant.ts"

export const log: ReadonlyArray<Mutant> = [
  {
    name: "group checksum skipped",
    breaks: "A flipped bit in a group is read as what was written.",
    file: "log/Group.ts",
    find: "crc32(bytes.subarray(at + 8, at + header.length)) === header.checksum",
    replace: "crc32(bytes.subarray(at + 8, at + header.length)) >= 0",
    caughtBy: { file: "scan" }
  },
  {
    name: "chain of groups not followed",
    breaks: "A whole group of a life that was cut off is taken into the log.",
    file: "log/Group.ts",
    find: "if (header.previousChecksum !== cut.previousChecksum) return invalid(56",
    replace: "if (header.previousChecksum < 0) return invalid(56",
    caughtBy: { file: "scan.lives" }
  },
  {
    name: "superblock checksum skipped",
    breaks: "A superblock with a flipped bit is believed.",
    file: "log/Superblock.ts",
    find: "if (bytes.readUInt32LE(4) !== crc32(bytes.subarray(8, SUPERBLOCK_BYTES))) {",
    replace: "if (bytes.readUInt32LE(4) < 0) {",
    caughtBy: { file: "superblock" }
  },
  {
    name: "segment checksum skipped",
    breaks: "A segment's header with a flipped bit is believed.",
    file: "log/Segment.ts",
    find: "if (bytes.readUInt32LE(4) !== checksum) return",
    replace: "if (checksum < 0) return",
    caughtBy: { file: "tail" }
  },
  {
    name: "large value checksum skipped",
    breaks: "A large value that has rotten in the log is answered.",
    file: "actors/files/Values.ts",
    find: "if (bytes !== undefined && actual === checksum >>> 0)",
    replace: "if (bytes !== undefined)",
    caughtBy: { file: "relocation.damage" }
  },
  {
    name: "torn tail taken for rot",
    breaks: "A store does not open after an ordinary power cut.",
    file: "log/Verdict.ts",
    find: "position: [\"from D on\"], verdict: \"torn tail\"",
    replace: "position: [\"from D on\"], verdict: \"corrupted\"",
    caughtBy: { file: "scan" }
  },
  {
    name: "rot taken for a torn tail",
    breaks: "What was durable and is damaged is cut off.",
    file: "log/Verdict.ts",
    find: "position: [\"below D\"], verdict: \"corrupted\"",
    replace: "position: [\"below D\"], verdict: \"torn tail\"",
    caughtBy: { file: "scan" }
  },
  {
    name: "D not learned behind the damage",
    breaks: "A durable mark that lies behind damage is not looked for.",
    file: "log/Scan.ts",
    find: "    this.durableLsn = Math.max(this.durableLsn, durableLsn)\n    return this.decide()",
    replace: "    return this.decide()",
    caughtBy: { file: "scan" }
  },
  {
    name: "adopted tail not rewritten",
    breaks: "What only the page cache had is built upon after a crash.",
    file: "actors/opening/Recovery.ts",
    find: "if (mode === \"readWrite\") yield* adopted.rewrite(end, opened)",
    replace: "adopted.takeDurable(end.durableLsn)",
    caughtBy: { file: "simulation" }
  },
  {
    name: "replay from the wrong cut",
    breaks: "Records that the checkpoint holds are applied to it again.",
    file: "actors/opening/Recovery.ts",
    find: "      storeId,\n      cut,\n",
    replace: "      storeId,\n      cut: roots.older?.cut ?? cut,\n",
    caughtBy: { file: "storeReopen" }
  },
  {
    name: "torn end left as it is",
    breaks:
      "What is written over a torn group makes it whole again, with what an opening had not found behind it.",
    file: "actors/opening/Recovery.ts",
    find: "if (header.equals(zeros)) return",
    replace: "if (header.length > 0) return",
    caughtBy: { file: "recovery.leftover" }
  },
  {
    name: "pieces below the cut not gathered",
    breaks: "A transaction whose pieces a checkpoint parts cannot be replayed.",
    file: "actors/opening/Gather.ts",
    find: "if (firsts.length === 0) return",
    replace: "if (firsts.length >= 0) return",
    caughtBy: { file: "streams" }
  },
  {
    name: "pieces applied without a commit",
    breaks: "What a transaction has written is seen before it has committed, and after it was given up.",
    file: "actors/Tree.ts",
    find:
      "if (reader.type === RecordType.piece || reader.type === RecordType.abort) return this.pass(reader)",
    replace: "if (reader.type === RecordType.abort) return this.pass(reader)",
    caughtBy: { file: "streams" }
  },
  {
    name: "checksum of pieces skipped",
    breaks: "A commit is believed whatever pieces there are.",
    file: "log/Pieces.ts",
    find: "return reader.streamChecksum === checksum >>> 0 ?",
    replace: "return reader.streamChecksum >= 0 ?",
    caughtBy: { file: "pieces" }
  },
  {
    name: "discarded piece applied",
    breaks: "A step that failed after it was written to the log is part of its transaction.",
    file: "log/Pieces.ts",
    find: "this.discarded.fill(1, reader.keyspace, count)",
    replace: "this.discarded.fill(0, reader.keyspace, count)",
    caughtBy: { file: "streams" }
  },
  {
    name: "acknowledged before its sync",
    breaks: "Who waits for durability is answered when the group was written.",
    file: "actors/GroupCommit.ts",
    find: "this.waiters.completeBelow(\"synced\", Math.min(visible, this.options.tail.durableLsn))",
    replace: "this.waiters.completeBelow(\"synced\", Math.min(visible, this.writtenLsn))",
    caughtBy: { file: "simulation" }
  },
  {
    name: "acknowledged before it is visible",
    breaks: "A commit that waits for room is answered before anybody can read it.",
    file: "actors/GroupCommit.ts",
    find: "this.waiters.completeBelow(\"synced\", Math.min(visible,",
    replace: "this.waiters.completeBelow(\"synced\", Math.max(visible,",
    caughtBy: { file: "park" }
  },
  {
    name: "lone writer keeps its thread",
    breaks: "A lone writer on a slow disk leaves nobody else a turn for as long as it writes.",
    file: "actors/GroupCommit.ts",
    find: "this.inARow < this.row && this.heldMillis < rowMillis",
    replace: "this.inARow < this.row",
    caughtBy: { file: "syncThread" }
  },
  {
    name: "waiter forgotten",
    breaks: "Of those that wait for one sync one is never answered.",
    file: "actors/commit/Waiters.ts",
    find: "this.keep(durability, waiters.slice(count))",
    replace: "this.keep(durability, waiters.slice(count + 1))",
    caughtBy: { file: "waiters", hangs: "may hang" }
  },
  {
    name: "waiter answered twice",
    breaks: "Who was answered is answered again.",
    file: "actors/commit/Waiters.ts",
    find: "this.keep(durability, waiters.slice(count))",
    replace: "this.keep(durability, waiters.slice(count - 1))",
    caughtBy: { file: "waiters", hangs: "may hang" }
  },
  {
    name: "covered values hold the log",
    breaks:
      "What is overwritten in mini-pages only is not merged, and base pages go on holding segments of the log.",
    file: "actors/upkeep/Relocation.ts",
    find: "return Effect.ignore(this.options.merge(leaves))",
    replace: "return Effect.void",
    caughtBy: { file: "relocation", tests: "two checkpoints" }
  }
]
