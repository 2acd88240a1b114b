/**
 * Blocks of the scratch file: older versions, sorted, in the size of a page.
 *
 * `BlockWriter.ts` has the layout. An entry is named by the word at which it begins.
 */
import { crc32 } from "node:zlib"
import type { KeyScratch } from "../page/KeyScratch.ts"
import { compareKeys } from "../page/Search.ts"

export const headerWords = 3
export const entryWords = 9
const high = 2 ** 32

/** Words of a block that an entry with so many words of key and value takes. */
export const wordsTaken = (words: number): number => 1 + entryWords + words

/** Words that a block has for entries. */
export const room = (blockBytes: number): number => blockBytes / 4 - headerWords

/** A float64, and its words. */
export const float = new Float64Array(1)
export const floatWords = new Int32Array(float.buffer)

/** The checksum of a block, as an int32. */
export const checksumOf = (bytes: Uint8Array): number => crc32(bytes) | 0

export const count = (block: Int32Array): number => block[0] as number
export const entryAt = (block: Int32Array, index: number): number => block[headerWords + index] as number
export const treeOf = (block: Int32Array, at: number): number => block[at] as number
export const keyBytesOf = (block: Int32Array, at: number): number => (block[at + 1] as number) & 0xffff
export const kindOf = (block: Int32Array, at: number): number => (block[at + 1] as number) >>> 16
export const valueBytesOf = (block: Int32Array, at: number): number => block[at + 2] as number
export const versionOf = (block: Int32Array, at: number): number => readNumber(block, at + 3)
export const endOf = (block: Int32Array, at: number): number => readNumber(block, at + 5)
/** Word at which an entry's key begins. */
export const keyAt = (at: number): number => at + entryWords
/** Word at which its value begins. */
export const valueAt = (block: Int32Array, at: number): number =>
  at + entryWords + (keyBytesOf(block, at) + 3 >>> 2)

export const expiryOf = (block: Int32Array, at: number): number => {
  floatWords[0] = block[at + 7] as number
  floatWords[1] = block[at + 8] as number
  return float[0] as number
}

/** Whether a reader sees an entry. */
export const isSeen = (block: Int32Array, at: number, lsn: number): boolean =>
  versionOf(block, at) < lsn && lsn <= endOf(block, at)

/** Order of an entry of a block and a tree's key at a version. */
export function compare(
  block: Int32Array,
  at: number,
  treeId: number,
  key: KeyScratch,
  version: number
): number {
  const trees = treeOf(block, at) - treeId
  if (trees !== 0) return trees
  const keys = compareKeys(block, at + entryWords, keyBytesOf(block, at), key.words, 0, key.length)
  return keys !== 0 ? keys : versionOf(block, at) - version
}

/** Index of the first entry at or above a tree's key at a version. */
export function lower(block: Int32Array, treeId: number, key: KeyScratch, version: number): number {
  let low = 0
  let high = count(block)
  while (low < high) {
    const middle = low + high >>> 1
    if (compare(block, entryAt(block, middle), treeId, key, version) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** The entry of a key that a reader at `lsn` sees, the newest where there are several; -1 = none is in this block. */
export function find(block: Int32Array, treeId: number, key: KeyScratch, lsn: number): number {
  const index = lower(block, treeId, key, lsn) - 1
  if (index < 0) return -1
  const at = entryAt(block, index)
  return compare(block, at, treeId, key, versionOf(block, at)) === 0 && isSeen(block, at, lsn) ? at : -1
}

const readNumber = (words: Int32Array, at: number): number =>
  ((words[at + 1] as number) >>> 0) * high + ((words[at] as number) >>> 0)
