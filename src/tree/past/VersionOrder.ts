/**
 * An ordered set of small integers under a comparison that the owner gives: the order of displaced versions.
 *
 * Blocks of sorted ids in one array. Inserts and removals move at most a block; finding is a binary search over the
 * blocks and one within. It is filled only when a range of the past is read, so most stores never fill it.
 *
 * I1 Blocks are not empty, and ids ascend through them.
 */
import { invariant } from "../../Invariant.ts"

const blockIds = 256

interface Block {
  readonly ids: Int32Array
  count: number
}

/** Negative where `id` stands before what is looked for, else zero or positive. */
export type Compare = (id: number) => number

export class VersionOrder {
  private readonly blocks: Array<Block> = []
  private total = 0

  get size(): number {
    return this.total
  }

  get bytes(): number {
    return this.blocks.length * (blockIds * 4 + 64)
  }

  /** Position of the first id for which `compare` is not negative. */
  lower(compare: Compare): number {
    let low = 0
    let high = this.blocks.length
    while (low < high) {
      const middle = low + high >>> 1
      const block = this.blocks[middle] as Block
      if (compare(block.ids[block.count - 1] as number) < 0) low = middle + 1
      else high = middle
    }
    const block = this.blocks[low]
    if (block === undefined) return low * blockIds
    let from = 0
    let to = block.count
    while (from < to) {
      const middle = from + to >>> 1
      if (compare(block.ids[middle] as number) < 0) from = middle + 1
      else to = middle
    }
    return low * blockIds + from
  }

  /** The id at a position, or -1 past either end. */
  at(position: number): number {
    if (position < 0) return -1
    const block = this.blocks[Math.floor(position / blockIds)]
    return block === undefined ? -1 : block.ids[position % blockIds] as number
  }

  /** The position after, to be read with `at`. */
  next(position: number): number {
    const index = Math.floor(position / blockIds)
    const block = this.blocks[index] as Block
    return position % blockIds + 1 < block.count ? position + 1 : (index + 1) * blockIds
  }

  /** The position before; -1 where there is none. */
  previous(position: number): number {
    if (position % blockIds > 0) return position - 1
    const index = Math.floor(position / blockIds) - 1
    return index < 0 ? -1 : index * blockIds + (this.blocks[index] as Block).count - 1
  }

  insert(id: number, compare: Compare): void {
    const position = this.lower(compare)
    let index = Math.min(Math.floor(position / blockIds), Math.max(0, this.blocks.length - 1))
    let block = this.blocks[index]
    if (block === undefined) this.blocks.push(block = { ids: new Int32Array(blockIds), count: 0 })
    // Past the last block is the end of the last block.
    let at = index * blockIds <= position && position < (index + 1) * blockIds
      ? position % blockIds
      : block.count
    if (block.count === blockIds) {
      const half = blockIds >>> 1
      const right: Block = { ids: new Int32Array(blockIds), count: blockIds - half }
      right.ids.set(block.ids.subarray(half))
      block.count = half
      this.blocks.splice(++index, 0, right)
      if (at > half) {
        block = right
        at -= half
      }
    }
    block.ids.copyWithin(at + 1, at, block.count)
    block.ids[at] = id
    block.count++
    this.total++
  }

  /** Removes an id; `compare` finds it. */
  remove(id: number, compare: Compare): void {
    const position = this.lower(compare)
    invariant(this.at(position) === id, "VersionOrder I1")
    const index = Math.floor(position / blockIds)
    const block = this.blocks[index] as Block
    block.ids.copyWithin(position % blockIds, position % blockIds + 1, block.count)
    if (--block.count === 0) this.blocks.splice(index, 1)
    this.total--
  }
}
