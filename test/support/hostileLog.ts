/**
 * What the log's decoders are given: groups of records, segments, headers, superblocks.
 */
import { crc32 } from "node:zlib"
import { Follow } from "../../src/log/Follow.ts"
import { GROUP_HEADER_BYTES, GroupHeader } from "../../src/log/Group.ts"
import { FIRST_LSN, NO_LSN } from "../../src/log/Lsn.ts"
import { decodeDefinition, encodeDefinition, readForms, verifyRecords } from "../../src/log/RecordForm.ts"
import { RecordReader } from "../../src/log/RecordReader.ts"
import { Scan } from "../../src/log/Scan.ts"
import { decodeSegment, SEGMENT_HEADER_BYTES } from "../../src/log/Segment.ts"
import {
  decodeSuperblock,
  encodeSuperblock,
  SUPERBLOCK_BYTES,
  superblockOffset
} from "../../src/log/Superblock.ts"
import type { Superblock } from "../../src/log/Superblock.ts"
import { chooseSuperblock } from "../../src/log/SuperblockChoice.ts"
import { SessionReplay } from "../../src/tree/SessionReplay.ts"
import { rechain } from "./forge.ts"
import type { Steps, Subject } from "./hostile.ts"
import {
  appendPut,
  appendTransaction,
  bytesOf,
  life,
  makeTail,
  randomTransaction,
  start,
  storeId
} from "./log.ts"
import { LogImage, resealed } from "./logImage.ts"
import type { Random } from "./random.ts"
import { upTo } from "./stores.ts"

const makeGroup = () => makeTail({ segmentBytes: 1 << 20, inlineValueBytes: 64 })
const { groupLsn } = makeGroup()

/** A group with records of all types, small enough to be mostly structure. */
const groupOf = (chance: Random): Uint8Array => {
  for (;;) {
    const group = someGroup(chance)
    if (group.length < 1_500) return group
  }
}

const someGroup = (chance: Random): Uint8Array => {
  const tail = makeGroup()
  for (let count = 2; count > 0; count--) appendTransaction(tail, randomTransaction(chance, 100))
  tail.begin(1).openSession(7, bytesOf("session"))
  tail.append()
  tail.begin(2, { id: 7, serial: 1 }).put(1, bytesOf("key"), bytesOf("value"))
  tail.append()
  const definition = encodeDefinition({ codecVersion: 1, reducer: 0, layout: "string" })
  tail.begin(3).createKeyspace(3, bytesOf("name"), definition)
  tail.append()
  tail.beginPiece(3, NO_LSN, 0).put(1, bytesOf("p"), bytesOf("v"))
  const first = tail.append()
  tail.beginCommit(3, { first, pieces: 1, checksum: 9 })
  tail.append()
  tail.beginRelocate(4).relocate(1, bytesOf("a"), new Uint8Array(65), first, first)
  tail.append()
  return Uint8Array.from(tail.seal()?.bytes ?? [])
}

/** Reads each record and each write, and hands them to who replays and who looks at logs. */
const readRecords = (bytes: Buffer, steps: Steps): boolean => {
  const header = new GroupHeader()
  header.read(bytes, 0)
  const { kind, records } = header
  const from = GROUP_HEADER_BYTES
  const reader = new RecordReader().open(bytes, from, bytes.length, groupLsn + from, records)
  while (reader.nextRecord()) {
    steps.take()
    while (reader.nextWrite()) {
      steps.take()
      const inside = from <= reader.keyStart && reader.keyStart <= reader.keyEnd
        && reader.keyEnd <= reader.valueStart && reader.valueStart <= reader.valueEnd
        && reader.valueEnd <= reader.recordEnd && reader.recordEnd <= bytes.length
      if (!inside) throw new Error("a write outside of its record")
    }
  }
  const fault = verifyRecords(bytes, from, bytes.length, groupLsn + from, records)
  if ((fault === undefined) !== (reader.fault === undefined)) throw new Error("two opinions of one record")
  if (fault !== undefined) return false
  if (readForms(bytes, from, bytes.length, groupLsn + from)._tag !== "Valid") throw new Error("two opinions")
  const sessions = new SessionReplay([])
  reader.open(bytes, from, bytes.length, groupLsn + from, records)
  while (reader.nextRecord()) if (sessions.take(reader) !== undefined) break
  const follow = new Follow(start)
  follow.know(new Map([[1, 0]]))
  const segment = {
    sequence: 1,
    base: FIRST_LSN,
    capacity: 1 << 20,
    previousChecksum: 0,
    incarnation: life(1)
  }
  follow.take({
    _tag: "Group",
    kind,
    lsn: groupLsn,
    end: groupLsn + bytes.length,
    durableLsn: FIRST_LSN,
    records,
    bytes,
    segment
  })
  return true
}

const segmentBytes = 1_024

/** Two segments or more, one behind the other. */
const logOf = (chance: Random): Uint8Array => {
  const tail = makeTail({ segmentBytes, inlineValueBytes: 64 })
  for (let groups = 0; tail.segment.sequence < 2 || groups < 5; groups++) {
    appendPut(tail, chance.int(100), `key ${chance.int(100)}`)
    tail.begin(groups, { id: 7, serial: groups }).remove(1, bytesOf("gone"))
    tail.append()
    const sealed = tail.seal()
    if (sealed !== undefined && chance.bool(0.5)) tail.durable(sealed.lsn)
  }
  const image = new LogImage().write(tail)
  return Buffer.concat([...image.files].sort(([a], [b]) => a - b).map(([, bytes]) => bytes))
}

const filesIn = (bytes: Buffer): ReadonlyArray<Buffer> => {
  const files: Array<Buffer> = []
  const length = SEGMENT_HEADER_BYTES + segmentBytes
  for (let at = 0; at < bytes.length; at += length) files.push(bytes.subarray(at, at + length))
  return files
}

/** Groups and headers, and what the next segment's header says of the last group of the one before. */
const sealLog = (bytes: Buffer): void => {
  for (const file of filesIn(bytes)) {
    if (file.length < SEGMENT_HEADER_BYTES) continue
    resealed(file, SEGMENT_HEADER_BYTES)
    rechain(file, SEGMENT_HEADER_BYTES)
  }
}

const readLog = (bytes: Buffer, steps: Steps): boolean => {
  const files = filesIn(bytes)
  const scan = new Scan({
    storeId,
    cut: start,
    durableLsn: FIRST_LSN,
    firstSequence: 1,
    files: files.map((file, index) => ({ sequence: index + 1, bytes: file.length }))
  })
  const follow = new Follow(start)
  for (let answer = scan.next();; answer = scan.next()) {
    steps.take()
    if (answer._tag === "Need") {
      const file = files[answer.sequence - 1]
      if (file === undefined || answer.length <= 0 || answer.offset >= file.length) {
        throw new Error("a need of nothing")
      }
      scan.feed(file.subarray(answer.offset, answer.offset + answer.length))
    } else if (answer._tag === "Group") {
      follow.take(answer)
      const reader = new RecordReader().open(
        answer.bytes,
        GROUP_HEADER_BYTES,
        answer.bytes.length,
        answer.lsn + GROUP_HEADER_BYTES,
        answer.records
      )
      while (reader.nextRecord()) while (reader.nextWrite()) steps.take()
      if (reader.fault !== undefined) throw new Error("a group with a broken record")
    } else return answer._tag === "TornTail" || answer._tag === "Reached"
  }
}

const superblock = (chance: Random, slot: 0 | 1): Superblock => ({
  slot,
  storeId,
  version: 4 + slot,
  otherVersion: 3 + slot,
  createdMillis: chance.int(2 ** 40),
  pageBytes: 4_096,
  cut: { lsn: 8_192, sequence: 2, previousChecksum: 77, incarnation: life(1) },
  durableLsn: 8_192 + chance.int(100) * 8,
  begin: { lsn: 4_096, sequence: 1 },
  map: { slot: 3, checksum: chance.int(2 ** 32), level: 1 },
  catalog: { slot: 4, checksum: chance.int(2 ** 32), bytes: 100 },
  slots: 10,
  pageIds: 5,
  nextTree: 3,
  nextKeyspace: 3
})

const superblocksOf = (chance: Random): Uint8Array => {
  const bytes = Buffer.alloc(2 * SUPERBLOCK_BYTES)
  for (const slot of [0, 1] as const) {
    encodeSuperblock(
      superblock(chance, slot),
      bytes.subarray(superblockOffset(slot)).subarray(0, SUPERBLOCK_BYTES)
    )
  }
  return bytes
}

const halves = (bytes: Buffer): readonly [Buffer, Buffer] => [
  bytes.subarray(0, SUPERBLOCK_BYTES),
  bytes.subarray(superblockOffset(1))
]

const segmentHeaderOf = (chance: Random): Uint8Array =>
  Uint8Array.from(logOf(chance).subarray(0, SEGMENT_HEADER_BYTES))

/** All that the log is read by; `of` makes sources by chance. */
export const logSubjects = (chance: Random): ReadonlyArray<Subject & { readonly share: number }> => [
  { name: "records of a group", share: 20, sources: upTo(12).map(() => groupOf(chance)), read: readRecords },
  {
    name: "segments of a log",
    share: 18,
    sources: upTo(12).map(() => logOf(chance)),
    seal: sealLog,
    read: readLog
  },
  {
    name: "headers of segments",
    share: 3,
    dense: 96,
    sources: upTo(4).map(() => segmentHeaderOf(chance)),
    seal: (bytes) => void bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4),
    read: (bytes) => decodeSegment(bytes, storeId, 1)._tag === "Valid"
  },
  {
    name: "superblocks",
    share: 6,
    dense: 164,
    sources: upTo(4).map(() => superblocksOf(chance)),
    seal: (bytes) => {
      for (const half of halves(bytes)) half.writeUInt32LE(crc32(half.subarray(8)), 4)
    },
    read: (bytes) => {
      const [a, b] = halves(bytes)
      return chooseSuperblock(decodeSuperblock(a, 0), decodeSuperblock(b, 1))._tag === "Chosen"
    }
  },
  {
    name: "definitions of keyspaces",
    share: 1,
    sources: ["", "string", "tuple(u32,größe)"].map((layout) =>
      encodeDefinition({ codecVersion: 3, reducer: 2, layout })
    ),
    read: (bytes) => decodeDefinition(bytes)._tag === "Valid"
  }
]
