/**
 * What a store must be by its log alone: every record, folded into plain maps; and what a checkpoint is by its pages
 * alone, before any log is replayed.
 *
 * The fold shares the scan and the record reader with the engine, and nothing above them.
 */
import * as Effect from "effect/Effect"
import { crc32 } from "node:zlib"
import { minis, restore, superblocks } from "../../src/actors/opening/Restore.ts"
import { Disk } from "../../src/disk/Disk.ts"
import type { Image } from "../../src/disk/FaultDisk.ts"
import type { Cut } from "../../src/log/Group.ts"
import { GROUP_HEADER_BYTES } from "../../src/log/Group.ts"
import { Op, RecordType } from "../../src/log/Record.ts"
import { RecordReader } from "../../src/log/RecordReader.ts"
import { Scan } from "../../src/log/Scan.ts"
import { parseSegmentName } from "../../src/log/Segment.ts"
import { decodeSuperblock, SUPERBLOCK_BYTES } from "../../src/log/Superblock.ts"
import type { Superblock } from "../../src/log/Superblock.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { Arena } from "../../src/tree/memory/Arena.ts"
import { Reducer } from "../../src/tree/page/Fold.ts"
import { verify } from "../../src/tree/page/PageCheck.ts"
import { Batch } from "../../src/tree/read/Batch.ts"
import type { Root } from "../../src/tree/Tree.ts"
import { Tree } from "../../src/tree/Tree.ts"
import { foldOf } from "./reducers.ts"
import { directory } from "./storeDoor.ts"
import type { Row, State } from "./storeModel.ts"

/** One write as the log has it. */
interface Entry {
  readonly lsn: number
  readonly op: number
  readonly keyspace: number
  readonly key: string
  readonly value: Uint8Array
  /** Stays in the log: the leaf has its length and checksum. */
  readonly large: boolean
  /** Of a relocate: the version of the record that it is for. */
  readonly version: number
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

/** How a leaf that refers to the log shows a value. */
const mark = (bytes: number, checksum: number): string => `${bytes} bytes that hash to ${checksum >>> 0}`

const superblockOf = (image: Image): Superblock | undefined => {
  const bytes = Buffer.from(image.read(`${directory}/super`) ?? [])
  const slots = ([0, 1] as const).map((slot) =>
    decodeSuperblock(bytes.subarray(slot * SUPERBLOCK_BYTES, (slot + 1) * SUPERBLOCK_BYTES), slot)
  )
  return slots.flatMap((slot) => slot._tag === "Valid" ? [slot.superblock] : [])
    .sort((a, b) => b.version - a.version)[0]
}

/** The whole log from the first checkpoint on, gathered before its segments are given up. */
export class Fold {
  private at: Cut | undefined
  private readonly entries: Array<Entry> = []
  /** Writes by piece, of streams by the LSN of their first one. */
  private readonly streams = new Map<number, Array<Array<Entry>>>()
  private readonly reader = new RecordReader()

  /** Reads on from where it was as far as the log of this disk goes. */
  advance(image: Image): void {
    const newest = superblockOf(image)
    if (newest === undefined) return
    this.at ??= newest.cut
    const cut = this.at
    const files = image.paths().flatMap((path) => {
      const sequence = parseSegmentName(path.slice(directory.length + 1))
      return sequence === undefined || sequence < cut.sequence
        ? []
        : [{ sequence, bytes: image.read(path) as Uint8Array }]
    })
    if (!files.some(({ sequence }) => sequence === cut.sequence)) return
    const scan = new Scan({
      storeId: newest.storeId,
      cut,
      durableLsn: cut.lsn,
      firstSequence: cut.sequence,
      files: files.map(({ bytes, sequence }) => ({ sequence, bytes: bytes.length }))
    })
    for (let answer = scan.next();; answer = scan.next()) {
      if (answer._tag === "Need") {
        const { length, offset, sequence } = answer
        const bytes = files.find((file) => file.sequence === sequence)?.bytes ?? new Uint8Array(0)
        scan.feed(bytes.subarray(offset, offset + length))
      } else if (answer._tag === "Group") {
        this.take(answer.bytes, answer.lsn, answer.records)
      } else {
        if (answer._tag !== "TornTail") throw new Error(`the log ends with ${JSON.stringify(answer)}`)
        this.at = answer.at
        return
      }
    }
  }

  private take(bytes: Buffer, lsn: number, records: number): void {
    const { reader } = this
    reader.open(bytes, GROUP_HEADER_BYTES, bytes.length, lsn + GROUP_HEADER_BYTES, records)
    while (reader.nextRecord()) {
      const { lsn, streamFirst, type } = reader
      if (type === RecordType.commit) {
        const pieces = this.streams.get(streamFirst) ?? []
        if (pieces.length !== reader.streamNumber) throw new Error(`the commit at ${lsn} misses pieces`)
        for (const entry of pieces.flat()) this.entries.push({ ...entry, lsn })
      }
      const pieces = this.streams.get(streamFirst) ?? []
      const writes: Array<Entry> = type === RecordType.piece ? [] : this.entries
      if (type === RecordType.piece) this.streams.set(streamFirst, [...pieces, writes])
      while (reader.nextWrite()) {
        if (reader.op === Op.discard) {
          for (const piece of pieces.slice(reader.keyspace)) piece.length = 0
          continue
        }
        writes.push({
          lsn: reader.lsn,
          op: reader.op,
          keyspace: reader.keyspace,
          key: text(reader.bytes.subarray(reader.keyStart, reader.keyEnd)),
          value: Uint8Array.from(reader.bytes.subarray(reader.valueStart, reader.valueEnd)),
          large: reader.large,
          version: reader.version
        })
      }
    }
  }

  get records(): number {
    return this.entries.length
  }

  /** The keyspaces after all records below `lsn`. */
  state(lsn: number, values: "whole" | "as leaves have them"): State {
    const open = new Map<
      number,
      { readonly name: string; readonly reducer: number; rows: Map<string, Row> }
    >()
    for (const entry of this.entries) {
      if (entry.lsn >= lsn) continue
      const { key, keyspace, large, op, value, version } = entry
      const rows = open.get(keyspace)?.rows
      if (op === Op.createKeyspace) {
        open.set(keyspace, {
          name: key,
          reducer: new DataView(value.buffer).getUint32(4, true),
          rows: new Map()
        })
      } else if (op === Op.dropKeyspace) open.delete(keyspace)
      else if (op === Op.clear) rows?.clear()
      else if (op === Op.remove) rows?.delete(key)
      else if (op === Op.put && rows !== undefined) {
        const leaves = large && open.get(keyspace)?.reducer !== Reducer.sum
        const shown = leaves && values !== "whole" ? mark(value.length, crc32(value)) : text(value)
        rows.set(key, { key, value: shown, lsn: entry.lsn })
      } else if (op === Op.merge && rows !== undefined) {
        const before = rows.get(key)?.value
        const folded = foldOf(
          open.get(keyspace)?.reducer ?? 0,
          before === undefined ? undefined : Buffer.from(before, "latin1"),
          value
        )
        rows.set(key, { key, value: text(folded), lsn: entry.lsn })
      } else if (op === Op.relocate) {
        // It says nothing new: who looks for the value finds it in another place.
        const row = rows?.get(key)
        const shown = values === "whole" ? text(value) : mark(value.length, crc32(value))
        if (row?.lsn === version && row.value !== shown) throw new Error(`another value at ${entry.lsn}`)
      } else throw new Error(`operation ${op} at ${entry.lsn}`)
    }
    return new Map([...open.values()].map(({ name, rows }) => [name, sorted(rows)]))
  }
}

const sorted = (rows: ReadonlyMap<string, Row>): ReadonlyArray<Row> =>
  [...rows.values()].sort((a, b) => a.key < b.key ? -1 : 1)

/** The newest checkpoint of a disk: its cut, and what its pages hold. */
export const checkpointOf = (
  pageBytes: number
): Effect.Effect<{ readonly lsn: number; readonly state: State }, StoreError, Disk> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const found = yield* superblocks(yield* disk.open(`${directory}/super`, { mode: "readOnly" }))
    const file = yield* disk.open(`${directory}/pages`, { mode: "readOnly" })
    const { cut, version } = found.newest
    const arena = new Arena({ pageBytes, blocks: 4096, chunkBytes: 4096 * pageBytes })
    const tree = new Tree({ arena, epoch: version + 1, durable: cut.lsn, visible: cut.lsn })
    const { map } = tree.pages
    const { catalog, packs } = yield* restore({ file, roots: { ...found, keptSlots: 0 }, map, pageBytes })
    const reserve = () => Effect.die("the arena is too small for this test")
    yield* minis({ file, packs, pages: tree.pages, reserve })
    const load = (id: number): void => {
      const bytes = new Uint8Array(pageBytes)
      file.readSync(bytes, (map.slot[id] as number) * pageBytes)
      const checked = verify(bytes, { pageId: id, checksum: map.checksum[id] as number, pageBytes })
      if (checked._tag !== "Sound") throw new Error(`page ${id}: ${checked.expected}, not ${checked.actual}`)
      tree.pages.install(id, map.generation[id] as number, bytes)
    }
    const state = new Map(
      catalog.keyspaces.map(({ count, expires, name, reducer, root, treeId, unresolved }) => {
        const rows = rowsOf(tree, { treeId, reducer, expires, page: root, count, unresolved }, load)
        if (unresolved === 0 && rows.length !== count) {
          throw new Error(`${name} has ${rows.length} records, its catalog says ${count}`)
        }
        return [name, rows] as const
      })
    )
    return { lsn: cut.lsn, state }
  })

const rowsOf = (
  tree: Tree,
  root: Root,
  load: (id: number) => void
): ReadonlyArray<Row> => {
  const rows: Array<Row> = []
  const batch = new Batch()
  const columns = "keys and values"
  for (let answer = 1, lower: Uint8Array = new Uint8Array(0); answer !== 0;) {
    batch.reset()
    answer = tree.scan(
      root,
      { lower, upper: undefined, order: "ascending", limit: 100, columns },
      Infinity,
      batch
    )
    lower = batch.position ?? lower
    if (answer < 0) load(tree.missing)
    for (let index = 0; index < batch.count; index++) {
      const reference = batch.reference(index)
      const value = reference === undefined
        ? text(batch.value(index))
        : mark(reference.bytes, reference.checksum)
      rows.push({ key: text(batch.key(index)), value, lsn: batch.version(index) })
    }
  }
  return rows
}
