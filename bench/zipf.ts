/**
 * Records and requests of the YCSB kind: keys that say nothing of their number, and numbers drawn by Zipf.
 *
 * Requests are drawn before anything is timed. The generator is the one of Gray et al., "Quickly generating
 * billion-record synthetic databases" (SIGMOD 1994), which YCSB uses; it knows skews below 1 only, so that 1 is taken
 * for the next number below. Keys scatter what is popular over the key space, as YCSB's scrambled form does.
 */

/** Bytes of a key: a hash of 64 bits, twice. */
export const keyBytes = 16
/** Bytes of a value. */
export const valueBytes = 16

/** Mixes 32 bits (the finisher of murmur3). */
const mix = (word: number): number => {
  let mixed = Math.imul(word ^ word >>> 16, 0x85ebca6b)
  mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35)
  return mixed ^ mixed >>> 16
}

/** The keys of all records, one after another. No two are equal: their first half is a permutation of the number. */
export const keysOf = (records: number): Uint8Array => {
  const words = new Int32Array(records * keyBytes / 4)
  for (let record = 0; record < records; record++) {
    const first = mix(record + 0x9e3779b9 | 0)
    const second = mix(first + 0x7f4a7c15 | 0)
    words[4 * record] = words[4 * record + 2] = first
    words[4 * record + 1] = words[4 * record + 3] = second
  }
  return new Uint8Array(words.buffer)
}

/** Numbers in [0, 1), the same in every run (mulberry32). */
export const random = (seed: number): () => number => {
  let state = seed | 0
  return () => {
    state = state + 0x6d2b79f5 | 0
    let mixed = Math.imul(state ^ state >>> 15, state | 1)
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61)
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
}

/** Draws numbers of records: the lower, the more often; all alike where `skew` is 0. */
export const zipf = (records: number, skew: number): (next: () => number) => number => {
  const theta = Math.min(skew, 0.9999)
  let zeta = 0
  for (let rank = records; rank >= 1; rank--) zeta += rank ** -theta
  const alpha = 1 / (1 - theta)
  const second = 1 + 0.5 ** theta
  const eta = (1 - (2 / records) ** (1 - theta)) / (1 - second / zeta)
  return (next) => {
    const part = next()
    if (part * zeta < 1) return 0
    if (part * zeta < second) return 1
    return Math.min(records - 1, Math.floor(records * (eta * part - eta + 1) ** alpha))
  }
}

/** So many requests, drawn ahead. */
export const requests = (draw: (next: () => number) => number, count: number, seed: number): Uint32Array => {
  const next = random(seed)
  const drawn = new Uint32Array(count)
  for (let index = 0; index < count; index++) drawn[index] = draw(next)
  return drawn
}
