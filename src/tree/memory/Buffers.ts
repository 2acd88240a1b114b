/**
 * Buffers of one page each, for images on their way to and from the disk: used again, as one made for each image
 * costs more than the copy, and is gone only when the collector comes by.
 *
 * I1 A buffer is given back once, when nobody will read or write it any more. What is in a taken one is left over.
 */
export class Buffers {
  private readonly free: Array<Uint8Array> = []
  readonly pageBytes: number
  private readonly most: number
  private taken = 0

  /** `most` of them are kept while they are not in use. */
  constructor(options: { readonly pageBytes: number; readonly most: number }) {
    this.pageBytes = options.pageBytes
    this.most = options.most
  }

  /** Memory of those in use and those kept. */
  get bytes(): number {
    return (this.taken + this.free.length) * this.pageBytes
  }

  take(): Uint8Array {
    this.taken++
    return this.free.pop() ?? new Uint8Array(this.pageBytes)
  }

  give(buffer: Uint8Array): void {
    this.taken--
    if (this.free.length < this.most) this.free.push(buffer)
  }
}
