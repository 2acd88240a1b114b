/**
 * Keys that say nothing of their number, the same in every run.
 */

/** The first so many: 16 bytes each (a 32-bit mix of murmur3, four times), as views of one array. */
export const keysOf = (records: number): (index: number) => Uint8Array => {
  const keys = new Uint8Array(records * 16)
  const words = new Uint32Array(keys.buffer)
  for (let word = 0; word < words.length; word++) {
    let mixed = Math.imul(word ^ 0x9e3779b9, 0x85ebca6b)
    mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35)
    words[word] = mixed ^ mixed >>> 16
  }
  return (index) => keys.subarray(index * 16, index * 16 + 16)
}
