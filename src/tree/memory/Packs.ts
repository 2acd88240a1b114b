/**
 * Packs: pages of the file that several mini-pages share, and how many pages of the tree name each.
 *
 * I1 A pack lives while a page names it.
 */
import { invariant } from "../../Invariant.ts"

export class Packs {
  /** By slot. */
  private readonly pages = new Map<number, number>()

  get size(): number {
    return this.pages.size
  }

  get bytes(): number {
    return this.pages.size * 32
  }

  slots(): Iterable<number> {
    return this.pages.keys()
  }

  /** So many more pages name a pack. */
  name(slot: number, pages: number): void {
    this.pages.set(slot, (this.pages.get(slot) ?? 0) + pages)
  }

  /** One page less names a pack; true where it was the last. */
  leave(slot: number): boolean {
    const left = (this.pages.get(slot) ?? 0) - 1
    invariant(left >= 0, "Packs I1")
    if (left > 0) this.pages.set(slot, left)
    else this.pages.delete(slot)
    return left === 0
  }
}
