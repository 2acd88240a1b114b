/**
 * What a transaction has read: hashes of keys, and ranges.
 *
 * It is all that a commit is validated by (`Window.ts`), so no page is touched for that and no value is kept. A key is
 * its hash alone: two keys of one hash make a transaction run again that need not have, once in some billions. A range
 * covers what was handed out of it, in its direction, and all of it once its end was reached.
 *
 * I1 Whatever the body saw of the store is covered, and what was absent as well.
 * I2 Reads are only added: what a failed step has read decided what came after it.
 */

/** Reads that are remembered one by one; a body with more has read the whole of the keyspaces that it read from. */
const mostReads = 65_536

/** Mixes the number of a keyspace and a key; FNV-1a, with a last step that spreads short keys over the high bits. */
export const hashOf = (space: number, key: Uint8Array): number => {
  let hash = Math.imul(space ^ 0x811c9dc5, 0x01000193)
  for (let index = 0; index < key.length; index++) {
    hash = Math.imul(hash ^ (key[index] as number), 0x01000193)
  }
  return hash ^ hash >>> 15
}

/** Keys of a keyspace in [lower, upper) that have been read; nothing yet where `lower` is undefined. */
export interface RangeRead {
  readonly space: number
  lower: Uint8Array | undefined
  /** Undefined: no upper bound. */
  upper: Uint8Array | undefined
}

export class ReadSet {
  /** The snapshot that was read: a commit below it is no conflict. */
  readonly at: number
  /** Keyspaces that were read from, each once. */
  readonly spaces: Array<number> = []
  readonly hashes: Array<number> = []
  readonly ranges: Array<RangeRead> = []
  /** The keyspace in which the transaction lost, once it has. */
  lost: string | undefined
  /** Reads of the store, by key and by range. */
  size = 0

  constructor(at: number) {
    this.at = at
  }

  key(space: number, key: Uint8Array): void {
    this.size++
    this.space(space)
    this.hashes.push(hashOf(space, key))
    if (this.hashes.length > mostReads) this.coarsen()
  }

  /** Begins a range of which nothing has been handed out. */
  range(space: number): RangeRead {
    this.size++
    this.space(space)
    if (this.ranges.length > mostReads) this.coarsen()
    const range: RangeRead = { space, lower: undefined, upper: undefined }
    this.ranges.push(range)
    return range
  }

  private space(space: number): void {
    const { spaces } = this
    if (spaces.at(-1) !== space && !spaces.includes(space)) spaces.push(space)
  }

  private coarsen(): void {
    this.hashes.length = this.ranges.length = 0
    for (const space of this.spaces) this.ranges.push({ space, lower: first, upper: undefined })
  }
}

/** The first of all keys. */
export const first = new Uint8Array(0)
