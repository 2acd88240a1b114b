/**
 * What readers of the past hold: LSN bounds below which they see, who reads there, and since when.
 *
 * A pin S is exclusive: its reader sees versions below S. A version that was current from `from` and displaced at `to`
 * is needed iff some pin has from < S ≤ to. Two pins always stand and move: the durable LSN, to which a failed log
 * falls back, and the visible LSN, at which new readers begin. Neither of them expires.
 *
 * I1 Durable never goes back and is never above visible; visible goes back to durable only.
 * I2 A pin that has expired is in no list: nothing is kept for it, and its readers find out by `isExpired`.
 *
 * It must not know the time: whoever takes a pin says when that was.
 */
import { invariant } from "../../Invariant.ts"

/** What a reader is: a boundary around an effect or a stream, the body of a transaction, a snapshot that is held. */
export type Owner = "read" | "stream" | "transaction" | "snapshot"
export const owners: ReadonlyArray<Owner> = ["read", "stream", "transaction", "snapshot"]

export interface Pin {
  readonly lsn: number
  readers: number
  /** First of the entries that this pin is the newest to need; -1 = none. Kept by Versions. */
  head: number
  isExpired: boolean
  /** Readers that gave their names, in the order in which they came. */
  first: Reader | undefined
  last: Reader | undefined
}

/** One who reads at a pin. */
export interface Reader {
  readonly pin: Pin
  readonly owner: Owner
  /** When it came, in milliseconds of whatever clock. */
  readonly since: number
  before: Reader | undefined
  after: Reader | undefined
}

export class Pins {
  durable: number
  visible: number
  /** Readers of all pins, of those too that have expired and do not know yet. */
  readers = 0
  /** Of these, those that gave their names. */
  readonly owners: Record<Owner, number> = { read: 0, stream: 0, transaction: 0, snapshot: 0 }
  /** Pins that had to go before their readers. */
  expired = 0
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

  /** Who has read longest at the oldest pin. */
  oldestReader(): Reader | undefined {
    return this.pinned[0]?.first
  }

  /** Who of an owner's readers came first; looks at all of them. */
  oldestOf(owner: Owner): Reader | undefined {
    let oldest: Reader | undefined
    for (const { first } of this.pinned) {
      for (let reader = first; reader !== undefined; reader = reader.after) {
        if (reader.owner === owner && (oldest === undefined || reader.since < oldest.since)) oldest = reader
      }
    }
    return oldest
  }

  add(lsn: number): Pin {
    this.readers++
    const index = this.above(lsn)
    const before = this.before(index)
    if (before !== undefined && before.lsn === lsn) {
      before.readers++
      return before
    }
    const pin = { lsn, readers: 1, head: -1, isExpired: false, first: undefined, last: undefined }
    // Almost always it is the newest.
    if (index === this.pinned.length) this.pinned.push(pin)
    else this.pinned.splice(index, 0, pin)
    return pin
  }

  /** The same for a reader that gives its name. */
  enter(lsn: number, owner: Owner, since: number): Reader {
    const pin = this.add(lsn)
    const reader: Reader = { pin, owner, since, before: pin.last, after: undefined }
    if (pin.last === undefined) pin.first = reader
    else pin.last.after = reader
    pin.last = reader
    this.owners[owner]++
    return reader
  }

  /** Takes one reader away; answers the pin if it was the last one and kept something. The pin is gone then. */
  leave(reader: Reader): Pin | undefined {
    const { after, before, owner, pin } = reader
    if (before === undefined) pin.first = after
    else before.after = after
    if (after === undefined) pin.last = before
    else after.before = before
    this.owners[owner]--
    return this.take(pin)
  }

  /** The same for a reader without a name. */
  remove(lsn: number): Pin | undefined {
    const pin = this.at(lsn)
    invariant(pin !== undefined, "Pins: only what was pinned is let go")
    return this.take(pin)
  }

  private take(pin: Pin): Pin | undefined {
    this.readers--
    if (--pin.readers > 0 || pin.isExpired) return undefined
    if (this.pinned.at(-1) === pin) this.pinned.pop()
    else this.pinned.splice(this.above(pin.lsn) - 1, 1)
    return pin
  }

  /** Lets the oldest pin go before its readers do, if it is one that keeps what the durable LSN does not. */
  expire(): Pin | undefined {
    const pin = this.pinned[0]
    if (pin === undefined || pin.lsn >= this.durable) return undefined
    this.pinned.shift()
    pin.isExpired = true
    this.expired++
    return pin
  }

  /** The pin at exactly this LSN. */
  at(lsn: number): Pin | undefined {
    const pin = this.before(this.above(lsn))
    return pin !== undefined && pin.lsn === lsn ? pin : undefined
  }

  /** The newest reader's pin at or below `to`, if it is above `from`: the one that needs [from, to). */
  holder(from: number, to: number): Pin | undefined {
    const pin = this.before(this.above(to))
    return pin !== undefined && pin.lsn > from ? pin : undefined
  }

  /** The pin before an index. Before the first there is none: V8 would look for a property named "-1", for 50 ns. */
  private before(index: number): Pin | undefined {
    return index === 0 ? undefined : this.pinned[index - 1]
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
