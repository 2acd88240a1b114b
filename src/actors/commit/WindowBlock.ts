/**
 * A block of the conflict window: so many written keys, in the order of their LSNs.
 *
 * I1 Rows are only added; what is sorted are the rows of a full block, once.
 */

/** Few enough to be looked at one by one while the block fills, enough for sorting to pay. */
export const blockRows = 256

export class Block {
  readonly spaces = new Int32Array(blockRows)
  readonly hashes = new Int32Array(blockRows)
  readonly lsns = new Float64Array(blockRows)
  /** The row before in the chain of the hash, as the window numbers them. */
  readonly chain = new Float64Array(blockRows)
  count = 0
  /** Ends of the keys in `keys`. */
  private readonly ends = new Int32Array(blockRows)
  private keys = new Uint8Array(4_096)
  /** Rows in the order of keyspace and key. */
  private sorted: Uint8Array | undefined

  get bytes(): number {
    return blockRows * (3 * 4 + 2 * 8) + this.keys.length + (this.sorted === undefined ? 0 : blockRows)
  }

  /** LSN of the newest row. */
  get newest(): number {
    return this.lsns[this.count - 1] as number
  }

  clear(): void {
    this.count = 0
    this.sorted = undefined
  }

  add(space: number, hash: number, key: Uint8Array, lsn: number, before: number): void {
    const index = this.count++
    const start = index === 0 ? 0 : this.ends[index - 1] as number
    const end = start + key.length
    if (end > this.keys.length) this.widen(end)
    const { keys } = this
    if (key.length >= 32) keys.set(key, start)
    else for (let at = 0; at < key.length; at++) keys[start + at] = key[at] as number
    this.ends[index] = end
    this.spaces[index] = space
    this.hashes[index] = hash
    this.lsns[index] = lsn
    this.chain[index] = before
  }

  /** Whether a key in [lower, upper) was written at or above `at`. */
  has(space: number, lower: Uint8Array, upper: Uint8Array | undefined, at: number): boolean {
    if (this.count < blockRows) {
      for (let index = this.count - 1; index >= 0 && (this.lsns[index] as number) >= at; index--) {
        if (this.compare(index, space, lower) >= 0 && this.isBelow(index, space, upper)) return true
      }
      return false
    }
    this.sorted ??= this.sort()
    const { sorted } = this
    let low = 0
    let high = blockRows
    while (low < high) {
      const middle = low + high >>> 1
      if (this.compare(sorted[middle] as number, space, lower) < 0) low = middle + 1
      else high = middle
    }
    for (; low < blockRows && this.isBelow(sorted[low] as number, space, upper); low++) {
      if ((this.lsns[sorted[low] as number] as number) >= at) return true
    }
    return false
  }

  private isBelow(index: number, space: number, upper: Uint8Array | undefined): boolean {
    if (upper === undefined) return this.spaces[index] === space
    return this.spaces[index] === space && this.compare(index, space, upper) < 0
  }

  private compare(index: number, space: number, key: Uint8Array): number {
    const difference = (this.spaces[index] as number) - space
    if (difference !== 0) return difference
    const { keys } = this
    const start = index === 0 ? 0 : this.ends[index - 1] as number
    const length = (this.ends[index] as number) - start
    const common = Math.min(length, key.length)
    for (let at = 0; at < common; at++) {
      const order = (keys[start + at] as number) - (key[at] as number)
      if (order !== 0) return order
    }
    return length - key.length
  }

  private sort(): Uint8Array {
    const rows = Uint8Array.from({ length: blockRows }, (_, index) => index)
    return rows.sort((a, b) => this.compare(a, this.spaces[b] as number, this.key(b)))
  }

  private key(index: number): Uint8Array {
    return this.keys.subarray(index === 0 ? 0 : this.ends[index - 1] as number, this.ends[index])
  }

  private widen(end: number): void {
    const keys = new Uint8Array(Math.max(end, this.keys.length * 2))
    keys.set(this.keys)
    this.keys = keys
  }
}
