/**
 * Bytes of displaced versions: blobs appended to slabs that are recycled when nothing in them lives any more.
 *
 * A blob starts at a word, so that keys in it compare by words. It is named by its *place*: slab · 2¹⁶ + word.
 *
 * I1 A slab is recycled only when its last blob was dropped.
 */
import { invariant } from "../../Invariant.ts"
import { Spares } from "../../Spares.ts"

/** The largest slab: its words are named by 16 bits. */
export const slabBytesMax = 256 * 1024

interface Slab {
  words: Int32Array
  bytes: Uint8Array
  live: number
}

const none = new ArrayBuffer(0)

export class Slabs {
  private readonly slabs: Array<Slab> = []
  /** Slabs without blobs, with and without memory. */
  private readonly spares = new Spares<number>()
  private readonly vacant: Array<number> = []
  private current = -1
  private used = 0
  private readonly slabBytes: number

  /** `slabBytes` of one slab are at most `slabBytesMax`; no blob is larger. */
  constructor(slabBytes: number) {
    this.slabBytes = slabBytes
  }

  get bytes(): number {
    return (this.slabs.length - this.vacant.length) * this.slabBytes
  }

  words(place: number): Int32Array {
    return (this.slabs[place >>> 16] as Slab).words
  }

  bytesOf(place: number): Uint8Array {
    return (this.slabs[place >>> 16] as Slab).bytes
  }

  /** Takes room for a blob; it is at most what a page holds. */
  allocate(words: number): number {
    if (this.current < 0 || this.used + words > this.slabBytes / 4) this.open()
    const place = this.current << 16 | this.used
    this.used += words
    ;(this.slabs[this.current] as Slab).live++
    return place
  }

  drop(place: number): void {
    const index = place >>> 16
    const slab = this.slabs[index] as Slab
    invariant(slab.live > 0, "Slabs I1")
    if (--slab.live > 0) return
    if (index === this.current) this.used = 0
    else this.spares.keep(index)
  }

  /** Nothing more goes into the slab at hand: what leaves together then leaves whole slabs. */
  seal(): void {
    if (this.current >= 0 && (this.slabs[this.current] as Slab).live === 0) this.spares.keep(this.current)
    this.current = -1
  }

  /** Slabs that have been empty since it was called last give their memory back. */
  trim(): void {
    for (const index of this.spares.trim()) this.vacate(index)
  }

  private open(): void {
    this.seal()
    this.current = this.spares.take() ?? this.vacant.pop() ?? this.slabs.length
    this.used = 0
    const slab = this.slabs[this.current] ??
      { words: new Int32Array(none), bytes: new Uint8Array(none), live: 0 }
    this.slabs[this.current] = slab
    if (slab.words.length > 0) return
    const buffer = new ArrayBuffer(this.slabBytes)
    slab.words = new Int32Array(buffer)
    slab.bytes = new Uint8Array(buffer)
  }

  private vacate(index: number): void {
    const slab = this.slabs[index] as Slab
    slab.words = new Int32Array(none)
    slab.bytes = new Uint8Array(none)
    this.vacant.push(index)
  }
}
