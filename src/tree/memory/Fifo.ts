/**
 * A queue of page ids: first in, first out, in one typed array.
 */
export class Fifo {
  private ids = new Int32Array(64)
  private head = 0
  /** How many are in it. */
  length = 0

  get bytes(): number {
    return this.ids.length * 4
  }

  push(id: number): void {
    if (this.length === this.ids.length) this.grow()
    this.ids[this.head + this.length++ & this.ids.length - 1] = id
  }

  /** Takes the oldest; 0 where there is none. */
  shift(): number {
    if (this.length === 0) return 0
    const id = this.ids[this.head] as number
    this.head = this.head + 1 & this.ids.length - 1
    this.length--
    return id
  }

  private grow(): void {
    const wider = new Int32Array(this.ids.length * 2)
    for (let index = 0; index < this.length; index++) {
      wider[index] = this.ids[this.head + index & this.ids.length - 1] as number
    }
    this.ids = wider
    this.head = 0
  }
}
