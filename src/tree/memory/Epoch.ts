/**
 * Epochs: what is retired stays as it is while somebody who was there before may still hold it.
 *
 * A reader pins the current epoch before it looks where something is, and lets the pin go when it needs that no more.
 * Whatever is retired meanwhile waits for the pins that were there; later ones cannot know of it and hold up nothing.
 * After the epochs of the Bw-Tree (Levandoski et al., ICDE 2013, section 2.4), which advance by a clock; here a retired
 * item ends the epoch that it finds pinned, so that no item waits for a pin that came after it.
 *
 * ```
 *   epochs, oldest first:   [ pins, items ]  [ pins, items ]  …  [ pins ]  the current one, which alone takes pins
 *                             └─ no pin left: its items are released, and the epoch is gone
 * ```
 *
 * I1 An item is released exactly once, and not before every pin is gone that was there when it was retired.
 * I2 A pin is let go exactly once.
 * I3 Items are released in the order in which they were retired.
 */
import { invariant } from "../../Invariant.ts"

interface Pinned<Item> {
  pins: number
  /** Retired while this epoch was the newest that had been pinned. */
  readonly items: Array<Item>
}

export class Epoch<Item> {
  private readonly release: (item: Item) => void
  /** Oldest first. */
  private readonly epochs: Array<Pinned<Item>> = [{ pins: 0, items: [] }]
  /** Number of the oldest. */
  private first = 0
  private held = 0

  constructor(release: (item: Item) => void) {
    this.release = release
  }

  /** Items that are retired and not released. */
  get waiting(): number {
    return this.held
  }

  /** Pins the current epoch; the answer is for `unpin`. */
  pin(): number {
    const newest = this.epochs.length - 1
    ;(this.epochs[newest] as Pinned<Item>).pins++
    return this.first + newest
  }

  unpin(pin: number): void {
    const epoch = this.epochs[pin - this.first]
    invariant(epoch !== undefined && epoch.pins > 0, "Epoch I2")
    epoch.pins--
    while (this.epochs.length > 1 && this.epochs[0]?.pins === 0) {
      const { items } = this.epochs.shift() as Pinned<Item>
      this.first++
      this.held -= items.length
      for (const item of items) this.release(item)
    }
  }

  /** Nobody finds the item any more: it is released as soon as nobody can hold it, which may be at once. */
  retire(item: Item): void {
    const newest = this.epochs.length - 1
    const current = this.epochs[newest] as Pinned<Item>
    const holder = current.pins > 0 ? current : this.epochs[newest - 1]
    if (holder === undefined) return this.release(item)
    holder.items.push(item)
    this.held++
    if (holder === current) this.epochs.push({ pins: 0, items: [] })
  }
}
