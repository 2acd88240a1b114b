/**
 * The serials of one session that somebody has open: which is under way, which wait, and how far it has come.
 *
 * A session is a client with one hand: its transactions run one at a time, in the order of their serials, and each
 * begins when the one before is visible. Only their syncs overlap. Running the bodies beside each other was rejected:
 * each would read what the one before has not written yet, lose, and run again.
 *
 * ```
 *            enter: last + 1              the Wal: committed                 leave: visible
 *   Waiting ────────────────▶ Under way ───────────────────▶ Under way, last + 1 ──────────▶ Done
 *     │  ▲ enter: another is under way │ leave: failed, so the serial is free
 *     │  └─ one with the same serial ◀─┘
 *     ├──▶ Repeated    its serial is committed
 *     ├──▶ Gap         nothing before it is under way any more
 *     └──▶ Refused     the session was closed or ended, or the log has failed
 * ```
 *
 * I1 At most one place is under way, and its serial is last + 1 until it has committed.
 * I2 Whoever waits, waits for the place that is under way: with none, nobody waits.
 *
 * It must not know what a transaction is, nor wait itself; whoever enters is told.
 */
import { invariant } from "../../Invariant.ts"
import type { StoreError } from "../../StoreError.ts"
import type { SessionEntry } from "../../tree/file/Catalog.ts"

/** What becomes of a serial. `lsn` is there where it is the last one: of older ones nothing more is remembered. */
export type Answer =
  | { readonly _tag: "Begin" }
  | { readonly _tag: "Repeated"; readonly lsn: number | undefined }
  | { readonly _tag: "Gap"; readonly expected: number }
  | { readonly _tag: "Refused"; readonly error: StoreError }

/** Somebody who wants to commit a serial. */
export interface Place {
  readonly serial: number
  readonly told: (answer: Answer) => void
}

const begin: Answer = { _tag: "Begin" }

export class Serials {
  /** The last commit; id 0 where the log does not know the session yet. */
  last: SessionEntry
  /** Why nothing is committed any more. */
  closed: StoreError | undefined
  private running: Place | undefined
  private readonly waiting = new Map<number, Array<Place>>()
  /** Those that waited for a serial which has committed since. */
  private joined: Array<Place> = []
  private waking = false

  constructor(last: SessionEntry) {
    this.last = last
  }

  /** Tells the place what becomes of it, now or when it is known. */
  enter(place: Place): void {
    const answer = this.answer(place.serial)
    if (answer !== undefined) return this.tell(place, answer)
    const places = this.waiting.get(place.serial)
    if (places === undefined) this.waiting.set(place.serial, [place])
    else places.push(place)
  }

  /** The place has committed and is visible, has failed, or does not want to wait any more. The first call counts. */
  leave(place: Place): void {
    if (this.running === place) {
      this.running = undefined
      this.wake()
    } else this.forget(place)
  }

  /** The last commit is this one now. */
  committed(last: SessionEntry): void {
    const { serial } = last
    invariant(serial === this.last.serial + 1 && this.running?.serial === serial, "Serials I1")
    this.last = last
    this.joined.push(...this.waiting.get(serial) ?? [])
    this.waiting.delete(serial)
  }

  /** Refuses whoever waits, and whoever comes. */
  close(error: StoreError): void {
    this.closed ??= error
    this.wake()
  }

  private answer(serial: number): Answer | undefined {
    if (this.closed !== undefined) return { _tag: "Refused", error: this.closed }
    const { last, running } = this
    const isSerial = Number.isSafeInteger(serial) && serial > 0
    if (isSerial && serial <= last.serial) {
      return { _tag: "Repeated", lsn: serial === last.serial ? last.lsn : undefined }
    }
    if (running !== undefined && isSerial) return undefined
    return running === undefined && serial === last.serial + 1 && isSerial
      ? begin
      : { _tag: "Gap", expected: last.serial + 1 }
  }

  private tell(place: Place, answer: Answer): void {
    if (answer === begin) this.running = place
    place.told(answer)
  }

  /** Whoever is told may leave or enter at once: the loop that is under way sees to them, or they would pile up. */
  private wake(): void {
    if (this.waking) return
    this.waking = true
    for (let place = this.next(); place !== undefined; place = this.next()) {
      const answer = this.answer(place.serial)
      invariant(answer !== undefined, "Serials I2")
      this.tell(place, answer)
    }
    this.waking = false
  }

  /** Takes a place that need not wait any more. */
  private next(): Place | undefined {
    const joined = this.joined.shift()
    if (joined !== undefined || this.running !== undefined && this.closed === undefined) return joined
    return this.take(this.last.serial + 1) ?? this.take(this.waiting.keys().next().value)
  }

  private take(serial: number | undefined): Place | undefined {
    if (serial === undefined) return undefined
    const places = this.waiting.get(serial)
    const place = places?.shift()
    if (places?.length === 0) this.waiting.delete(serial)
    return place
  }

  private forget(place: Place): void {
    this.joined = this.joined.filter((joined) => joined !== place)
    const places = this.waiting.get(place.serial)?.filter((waiting) => waiting !== place)
    if (places === undefined) return
    if (places.length === 0) this.waiting.delete(place.serial)
    else this.waiting.set(place.serial, places)
  }
}
