/**
 * What readers of the past hold: LSN bounds below which they see.
 *
 * A pin S is exclusive: its reader sees versions below S. A version that was current from `from` and displaced at `to`
 * is needed iff some pin has from < S ≤ to. Two pins always stand and move: the durable LSN, to which a failed log
 * falls back, and the visible LSN, at which new readers begin.
 *
 * I1 Durable never goes back and is never above visible; visible goes back to durable only.
 */
import { invariant } from "../Invariant.ts"

export interface Pin {
  readonly lsn: number
  readers: number
  /** First of the entries that this pin is the newest to need; -1 = none. Kept by Versions. */
  head: number
}

export class Pins {
  durable: number
  visible: number
  /** Readers of all pins. */
  readers = 0
  /** Ascending by LSN. */
  readonly pinned: Array<Pin> = []

  constructor(bounds: { readonly durable: number; readonly visible: number }) {
    this.durable = bounds.durable
    this.visible = bounds.visible
  }

  /** The smallest pin of all. */
  oldest(): number {
    const first = this.pinned[0]
    return first === undefined || this.durable < first.lsn ? this.durable : first.lsn
  }

  add(lsn: number): void {
    this.readers++
    const index = this.above(lsn)
    const before = this.pinned[index - 1]
    if (before !== undefined && before.lsn === lsn) before.readers++
    else this.pinned.splice(index, 0, { lsn, readers: 1, head: -1 })
  }

  /** Takes one reader away; answers the pin if it was the last one. The pin is gone then. */
  remove(lsn: number): Pin | undefined {
    const index = this.above(lsn) - 1
    const pin = this.pinned[index]
    invariant(pin !== undefined && pin.lsn === lsn, "Pins: only what was pinned is let go")
    this.readers--
    if (--pin.readers > 0) return undefined
    this.pinned.splice(index, 1)
    return pin
  }

  /** The newest reader's pin at or below `to`, if it is above `from`: the one that needs [from, to). */
  holder(from: number, to: number): Pin | undefined {
    if (this.pinned.length === 0) return undefined
    const pin = this.pinned[this.above(to) - 1]
    return pin !== undefined && pin.lsn > from ? pin : undefined
  }

  /** Index of the first pin above `lsn`. */
  private above(lsn: number): number {
    let low = 0
    let high = this.pinned.length
    while (low < high) {
      const middle = low + high >>> 1
      if ((this.pinned[middle] as Pin).lsn <= lsn) low = middle + 1
      else high = middle
    }
    return low
  }
}
