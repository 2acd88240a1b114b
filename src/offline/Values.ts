/**
 * Large values of a store that nobody runs: where they are, and whether they are what their leaves say.
 */
import * as Effect from "effect/Effect"
import { crc32 } from "node:zlib"
import { MAX_VALUE_BYTES } from "../log/Record.ts"
import { fileBytes, fileOffset } from "../log/Segment.ts"
import type { Segment } from "../log/Segment.ts"
import type { StoreError } from "../StoreError.ts"
import { KeyScratch } from "../tree/page/KeyScratch.ts"
import * as Leaf from "../tree/page/Leaf.ts"
import { valueOf } from "../tree/page/Operand.ts"
import * as Page from "../tree/page/Page.ts"
import type { Reference } from "../tree/page/Reference.ts"
import { readReference } from "../tree/page/Reference.ts"
import type { SegmentFile, Source } from "./Source.ts"
import { isFault, readAt } from "./Source.ts"

/** Read at a time: a value may be large. */
const pieceBytes = 1024 * 1024

/** A value that is not what its reference says. */
export interface BadValue {
  readonly path: string
  readonly offset: number
  readonly expected: string
  readonly actual: string
}

/** The references of the records in a page, whose words begin at 0. */
export function* referencesOf(
  words: Int32Array
): Generator<{ readonly index: number; readonly reference: Reference }> {
  for (let index = 0; index < Page.count(words, 0); index++) {
    const record = Leaf.recordAt(words, 0, index)
    if (Leaf.kindAt(words, record) !== Leaf.Kind.Reference) continue
    yield { index, reference: readReference(valueOf(words, record, Page.slotBytes(words, 0, index))) }
  }
}

const key = new KeyScratch()
const other = new KeyScratch()

/** Whether a mini-page has the key of record `index` of its base page. */
export const isCovered = (mini: Int32Array | undefined, base: Int32Array, index: number): boolean => {
  if (mini === undefined) return false
  Leaf.loadKey(base, 0, index, key)
  const found = Leaf.find(mini, 0, key)
  if (found < 0) return false
  // A search takes it for granted that a key begins with the page's prefix.
  Leaf.loadKey(mini, 0, found, other)
  return Buffer.compare(key.toBytes(), other.toBytes()) === 0
}

/** The segment that holds an LSN: of those whose headers are sound, the last that begins at or below it. */
export const segmentOf = ({ headers }: Source, lsn: number): Segment | undefined =>
  headers.findLast(({ base }) => base <= lsn)

/** Reads a large value piece by piece; answers what is wrong with it. */
export const check = (
  source: Source,
  reference: Reference,
  take?: (piece: Uint8Array) => void
): Effect.Effect<BadValue | undefined, StoreError> =>
  Effect.gen(function*() {
    const { bytes, checksum, lsn } = reference
    const segment = segmentOf(source, lsn)
    const file = source.segments.find(({ sequence }) => sequence === segment?.sequence)
    const expected = `a value of ${bytes} bytes with checksum ${checksum >>> 0}`
    if (segment === undefined || file === undefined) {
      return { path: `${source.directory}/log`, offset: 0, expected, actual: "no segment that holds it" }
    }
    const offset = fileOffset(segment, lsn)
    const bad = (actual: string): BadValue => ({ path: file.path, offset, expected, actual })
    if (bytes > MAX_VALUE_BYTES || offset + bytes > fileBytes(segment)) return bad("the end of its segment")
    let sum = 0
    for (let at = 0; at < bytes; at += pieceBytes) {
      const piece = yield* pieceAt(file, offset + at, Math.min(pieceBytes, bytes - at))
      if (typeof piece === "string") return bad(piece)
      sum = crc32(piece, sum)
      take?.(piece)
    }
    return (sum ^ checksum) === 0 ? undefined : bad(`checksum ${sum}`)
  })

const pieceAt = (
  file: SegmentFile,
  offset: number,
  length: number
): Effect.Effect<Uint8Array | string, StoreError> =>
  Effect.map(readAt(file, offset, length), (bytes) => isFault(bytes) ? bytes.actual : bytes)

/** The bytes of a large value, or what is wrong with them. */
export const read = (
  source: Source,
  reference: Reference
): Effect.Effect<Uint8Array | BadValue, StoreError> =>
  Effect.suspend(() => {
    const pieces: Array<Uint8Array> = []
    const checked = check(source, reference, (piece) => pieces.push(piece))
    return Effect.map(checked, (bad) => bad ?? Uint8Array.from(Buffer.concat(pieces)))
  })
