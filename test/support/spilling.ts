/**
 * A kernel whose older versions go to a scratch file when a test says so, and are read back as a store does it.
 */
import { assert } from "@effect/vitest"
import { KeyScratch } from "../../src/tree/page/KeyScratch.ts"
import * as Block from "../../src/tree/past/Block.ts"
import { Outgoing } from "../../src/tree/past/Outgoing.ts"
import type { Wanted } from "../../src/tree/past/Run.ts"
import type { Range } from "../../src/tree/read/Cursor.ts"
import { Batch } from "../../src/tree/read/Cursor.ts"
import type { Root } from "../../src/tree/Tree.ts"
import { Absent, inScratch, Kind, Missing } from "../../src/tree/Tree.ts"
import type { Row } from "./treeModel.ts"
import { bytes, pageBytes, text, World } from "./world.ts"

export class SpillingWorld extends World {
  /** Blocks that were read back. */
  reads = 0
  /** Runs between looking into the file and asking the tree again. */
  between: () => void = () => {}
  private readonly scratch = new Map<number, Uint8Array>()
  private readonly key = new KeyScratch()

  /** Sends all that may leave memory to the file; answers how many entries that were. */
  spill(): number {
    return this.complete(new Outgoing(this.tree.versions))
  }

  /** The same for what has begun. */
  complete(outgoing: Outgoing): number {
    if (outgoing.count === 0) {
      outgoing.stop()
      return 0
    }
    for (let next = outgoing.next(); next !== "whole"; next = outgoing.next()) {
      if (next === "full") assert.fail("there is room")
      if (next === "more") continue
      for (let at = 0; at < next.bytes.length; at += pageBytes) {
        this.scratch.set((next.position + at) / pageBytes, next.bytes.slice(at, at + pageBytes))
      }
    }
    outgoing.end()
    while (!outgoing.forget());
    return outgoing.count
  }

  private block({ index, run }: Wanted): Int32Array {
    this.reads++
    const block = this.scratch.get(run.slots[index] as number)
    if (block === undefined) return assert.fail("a slot without a block")
    assert.strictEqual(Block.checksumOf(block), run.checksums[index])
    return new Int32Array(block.buffer, block.byteOffset, block.length >>> 2)
  }

  override get(root: Root, key: string, at: number): Row | undefined {
    const { tree } = this
    const { spill } = tree.versions
    for (let searched = 0, tries = 0;; tries++) {
      assert.isBelow(tries, 1_000, "a get does not end")
      spill.searched = searched
      const answer = tree.get(root, bytes(key), at)
      spill.searched = 0
      if (answer === Absent) return undefined
      if (answer !== Missing) {
        const value = text(tree.value())
        return { key, value, version: tree.foundVersion(), expiry: tree.foundExpiry() }
      }
      if (tree.missing !== inScratch) {
        this.load(tree.missing)
        continue
      }
      const row = this.recall(root, key, at, tree.scratchFloor)
      if (row !== undefined) return row === "absent" ? undefined : row
      searched = spill.added
      this.between()
    }
  }

  private recall(root: Root, key: string, at: number, floor: number): Row | "absent" | undefined {
    this.key.load(bytes(key))
    let found: Row | "absent" | undefined
    let least = floor
    for (const wanted of this.tree.versions.spill.candidates(root.treeId, this.key, at)) {
      const block = this.block(wanted)
      const entry = Block.find(block, root.treeId, this.key, at)
      if (entry < 0 || Block.versionOf(block, entry) <= least) continue
      least = Block.versionOf(block, entry)
      const from = block.byteOffset + 4 * Block.valueAt(block, entry)
      const value = text(new Uint8Array(block.buffer, from, Block.valueBytesOf(block, entry)))
      const isThere = Block.kindOf(block, entry) !== Kind.Tombstone
      found = isThere ? { key, value, version: least, expiry: Block.expiryOf(block, entry) } : "absent"
    }
    return found
  }

  override scan(root: Root, range: Range, at: number, between: () => void = () => {}): Array<Row> {
    const { tree } = this
    const batch = new Batch()
    const rows: Array<Row> = []
    let { lower, upper } = range
    for (let pulls = 0;; pulls++) {
      assert.isBelow(pulls, 100_000, "a range does not end")
      batch.reset()
      while (tree.scan(root, { ...range, lower, upper }, at, batch) === Missing) {
        const { hand } = batch
        if (tree.missing !== inScratch) this.load(tree.missing, "scan")
        else for (const wanted of hand?.wanted ?? []) hand?.give(wanted, this.block(wanted))
      }
      batch.hand?.rest()
      for (let index = 0; index < batch.count; index++) {
        const [key, value] = [text(batch.key(index)), text(batch.value(index))]
        rows.push({ key, value, version: batch.version(index), expiry: batch.expiry(index) })
      }
      if (batch.ended) return rows
      if (batch.position !== undefined && range.order === "ascending") lower = batch.position
      if (batch.position !== undefined && range.order === "descending") upper = batch.position
      between()
    }
  }
}
