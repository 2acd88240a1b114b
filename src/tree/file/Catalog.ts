/**
 * The catalog: what a checkpoint must know beside the pages of its trees.
 *
 * It names every keyspace with its tree and the log segments that hold large values of it, lists the trees that are
 * being taken down, says of every session which serial it committed last, and where the pieces begin of transactions
 * that may yet commit. It is written whole with every
 * checkpoint, as a chain of pages whose first place stands in the superblock.
 *
 * A catalog page (little-endian):
 *
 * | offset | size | field                                     |
 * |-------:|-----:|-------------------------------------------|
 * |      0 |    4 | checksum: CRC-32 of the rest of the page  |
 * |      4 |    1 | format = 1                                |
 * |      5 |    1 | kind = 4 (catalog)                        |
 * |      6 |    2 | zero                                      |
 * |      8 |    4 | index of this page in the chain           |
 * |     12 |    4 | payload bytes in this page                |
 * |     16 |    8 | place of the next page: slot, checksum    |
 * |     24 |    8 | zero                                      |
 * |     32 |    … | payload                                   |
 *
 * The payload, strings as u16 length and UTF-8, counts and LSNs as f64:
 *
 * ```
 * millis f64
 * keyspaces u32 · { id u32 · treeId u32 · root u32 · codecVersion u32 · reducer u32 · flags u32
 *                   · count f64 · unresolved f64 · from f64
 *                   · name · layout · segments u32 · { base f64 · bytes f64 } … } …
 * dropping  u32 · { root u32 } …
 * sessions  u32 · { id u32 · serial f64 · lsn f64 · millis f64 · name } …
 * streams   u32 · { first piece f64 } …
 * ```
 *
 * `millis` is the time of the last commit; the flag 1 of a keyspace says that records of it may expire.
 *
 * A catalog is broken when a page's checksum differs from what points to it, when the chain ends early or goes on too
 * long, when the payload is not exactly used up, when a session has the id 0, or when two have one id or one name.
 */
import { crc32 } from "node:zlib"
import type { Cut as LogCut } from "../../log/Group.ts"
import type { Place } from "../memory/MapChunk.ts"
import type { Cut as PagesCut } from "../memory/Pages.ts"

const headerBytes = 32
const format = 1
const kind = 4
/** An entry without the bytes of its name. */
const sessionBytes = 30

/** Flag of a keyspace. */
const expires = 1

/** Large values of a keyspace in one segment of the log. */
export interface LargeValues {
  /** LSN at which the segment begins. */
  readonly base: number
  /** Bytes of the values that are still referred to. */
  readonly bytes: number
}

export interface KeyspaceEntry {
  readonly id: number
  readonly name: string
  /** Fingerprint of the key layout. */
  readonly layout: string
  readonly codecVersion: number
  readonly reducer: number
  readonly treeId: number
  /** Page id of the root. */
  readonly root: number
  /** Whether a record that expires was ever written to it. */
  readonly expires: boolean
  /** Records, as far as it was known, and those of which it was not (`Root`, Split.ts). */
  readonly count: number
  readonly unresolved: number
  /** LSN of the commit that created or last cleared it. */
  readonly from: number
  readonly segments: ReadonlyArray<LargeValues>
}

/** A session: what transactions of its name are numbered by, and how far they have come. */
export interface SessionEntry {
  /** By which the log names it. */
  readonly id: number
  readonly name: string
  /** Of its last commit: serial (0 where there is none), LSN, timestamp. */
  readonly serial: number
  readonly lsn: number
  readonly millis: number
}

/** What a cut finds beside the trees. */
export type Beside = Pick<Catalog, "sessions" | "streams">

export interface Catalog {
  readonly nextTreeId: number
  readonly nextKeyspaceId: number
  /** Time of the last commit, which no later one goes below. */
  readonly millis: number
  readonly keyspaces: ReadonlyArray<KeyspaceEntry>
  /** Roots of trees that a clear or a drop unlinked and whose pages are not all freed yet. */
  readonly dropping: ReadonlyArray<number>
  readonly sessions: ReadonlyArray<SessionEntry>
  /** LSNs of the first pieces of the streams that are open at the cut: the log is kept from the oldest on. */
  readonly streams: ReadonlyArray<number>
}

/** What the store was at a cut, beside the pages that are kept for it. */
export interface CutImage {
  readonly cut: LogCut
  readonly catalog: Catalog
  readonly pages: PagesCut
}

export const empty: Catalog = {
  nextTreeId: 1,
  nextKeyspaceId: 1,
  millis: 0,
  keyspaces: [],
  dropping: [],
  sessions: [],
  streams: []
}

export const encode = (catalog: Catalog): Uint8Array => {
  const parts: Array<Buffer> = []
  const u32 = (...values: ReadonlyArray<number>): void => {
    const part = Buffer.alloc(values.length * 4)
    values.forEach((value, index) => part.writeUInt32LE(value, index * 4))
    parts.push(part)
  }
  const f64 = (...values: ReadonlyArray<number>): void => {
    const part = Buffer.alloc(values.length * 8)
    values.forEach((value, index) => part.writeDoubleLE(value, index * 8))
    parts.push(part)
  }
  const string = (value: string): void => {
    const text = Buffer.from(value)
    const length = Buffer.alloc(2)
    length.writeUInt16LE(text.length)
    parts.push(length, text)
  }
  u32(catalog.nextTreeId, catalog.nextKeyspaceId)
  f64(catalog.millis)
  u32(catalog.keyspaces.length)
  for (const keyspace of catalog.keyspaces) {
    u32(keyspace.id, keyspace.treeId, keyspace.root, keyspace.codecVersion, keyspace.reducer)
    u32(keyspace.expires ? expires : 0)
    f64(keyspace.count, keyspace.unresolved, keyspace.from)
    string(keyspace.name)
    string(keyspace.layout)
    u32(keyspace.segments.length)
    for (const { base, bytes } of keyspace.segments) f64(base, bytes)
  }
  u32(catalog.dropping.length, ...catalog.dropping)
  parts.push(encodeSessions(catalog.sessions))
  u32(catalog.streams.length)
  f64(...catalog.streams)
  return Buffer.concat(parts)
}

/** In one piece: there may be a million. */
const encodeSessions = (sessions: ReadonlyArray<SessionEntry>): Buffer => {
  const names = sessions.map(({ name }) => Buffer.from(name))
  const length = names.reduce((sum, name) => sum + sessionBytes + name.length, 4)
  const bytes = Buffer.alloc(length)
  let at = bytes.writeUInt32LE(sessions.length, 0)
  sessions.forEach(({ id, lsn, millis, serial }, index) => {
    const name = names[index] as Buffer
    at = bytes.writeUInt32LE(id, at)
    for (const value of [serial, lsn, millis]) at = bytes.writeDoubleLE(value, at)
    at = bytes.writeUInt16LE(name.length, at)
    at += name.copy(bytes, at)
  })
  return bytes
}

/** Decodes a payload; `undefined` where it is broken. Reads nothing before it knows that it is there. */
export const decode = (payload: Uint8Array): Catalog | undefined => {
  try {
    return decodeOrThrow(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength))
  } catch (error) {
    // What Buffer's readers throw past the end.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

const decodeOrThrow = (source: Buffer): Catalog | undefined => {
  let at = 0
  const u32 = (): number => source.readUInt32LE((at += 4) - 4)
  const f64 = (): number => source.readDoubleLE((at += 8) - 8)
  const string = (): string => {
    const length = source.readUInt16LE((at += 2) - 2)
    if (at + length > source.length) throw new RangeError("string past the end")
    return source.toString("utf8", at, at += length)
  }
  const list = <A>(entryBytes: number, read: () => A): Array<A> => {
    const count = u32()
    if (count * entryBytes > source.length - at) throw new RangeError("list past the end")
    return Array.from({ length: count }, read)
  }
  const nextTreeId = u32()
  const nextKeyspaceId = u32()
  const millis = f64()
  const keyspaces = list(56, () => ({
    id: u32(),
    treeId: u32(),
    root: u32(),
    codecVersion: u32(),
    reducer: u32(),
    expires: (u32() & expires) !== 0,
    count: f64(),
    unresolved: f64(),
    from: f64(),
    name: string(),
    layout: string(),
    segments: list(16, () => ({ base: f64(), bytes: f64() }))
  }))
  const dropping = list(4, u32)
  const sessions = list(sessionBytes, () => ({
    id: u32(),
    serial: f64(),
    lsn: f64(),
    millis: f64(),
    name: string()
  }))
  const streams = list(8, f64)
  if (at !== source.length || !Number.isFinite(millis) || !areSound(sessions)) return undefined
  return { nextTreeId, nextKeyspaceId, millis, keyspaces, dropping, sessions, streams }
}

const areSound = (sessions: ReadonlyArray<SessionEntry>): boolean =>
  sessions.every(({ id }) => id !== 0)
  && new Set(sessions.map(({ id }) => id)).size === sessions.length
  && new Set(sessions.map(({ name }) => name)).size === sessions.length

/** How many pages a payload takes. */
export const pagesOf = (payloadBytes: number, pageBytes: number): number =>
  Math.max(1, Math.ceil(payloadBytes / (pageBytes - headerBytes)))

/**
 * Page `index` of the chain. It holds the place of the next page, so the last one is made first.
 */
export const toPage = (
  payload: Uint8Array,
  index: number,
  next: Place,
  pageBytes: number
): { readonly bytes: Uint8Array; readonly checksum: number } => {
  const room = pageBytes - headerBytes
  const part = payload.subarray(index * room, (index + 1) * room)
  const bytes = new Uint8Array(pageBytes)
  const view = new DataView(bytes.buffer)
  bytes[4] = format
  bytes[5] = kind
  view.setUint32(8, index, true)
  view.setUint32(12, part.length, true)
  view.setUint32(16, next.slot, true)
  view.setInt32(20, next.checksum, true)
  bytes.set(part, headerBytes)
  const checksum = crc32(bytes.subarray(4)) | 0
  view.setInt32(0, checksum, true)
  return { bytes, checksum }
}

export type DecodedPage =
  | { readonly _tag: "Page"; readonly payload: Uint8Array; readonly next: Place }
  | { readonly _tag: "Invalid"; readonly expected: string; readonly actual: string }

/** Decodes page `index` of the chain, which its predecessor says has checksum `checksum`. */
export const decodePage = (
  page: Uint8Array,
  expected: { readonly index: number; readonly checksum: number }
): DecodedPage => {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength)
  const actual = crc32(page.subarray(4)) | 0
  if (view.getInt32(0, true) !== actual || actual !== (expected.checksum | 0)) {
    return { _tag: "Invalid", expected: `checksum ${expected.checksum >>> 0}`, actual: String(actual >>> 0) }
  }
  const payloadBytes = view.getUint32(12, true)
  const fits = payloadBytes <= page.length - headerBytes
  if (page[4] !== format || page[5] !== kind || view.getUint32(8, true) !== expected.index || !fits) {
    return { _tag: "Invalid", expected: `catalog page ${expected.index}`, actual: `kind ${page[5]}` }
  }
  return {
    _tag: "Page",
    payload: page.subarray(headerBytes, headerBytes + payloadBytes),
    next: { slot: view.getUint32(16, true), checksum: view.getInt32(20, true) }
  }
}
