/**
 * A set of numbers, for books over slots and page ids whose bound a damaged file may claim to be anything.
 *
 * Bits stand in parts that are made when their first number comes, so memory follows what is in the set.
 */
const partBits = 4096

export class Bits {
  /** How many numbers are in it. */
  size = 0
  private readonly parts = new Map<number, Int32Array>()

  /** Adds a number; false where it was there. */
  add(n: number): boolean {
    const key = Math.floor(n / partBits)
    let part = this.parts.get(key)
    if (part === undefined) {
      part = new Int32Array(partBits >>> 5)
      this.parts.set(key, part)
    }
    const bit = n % partBits
    const word = part[bit >>> 5] as number
    const mask = 1 << (bit & 31)
    if ((word & mask) !== 0) return false
    part[bit >>> 5] = word | mask
    this.size++
    return true
  }

  has(n: number): boolean {
    const bit = n % partBits
    const part = this.parts.get(Math.floor(n / partBits))
    return part !== undefined && ((part[bit >>> 5] as number) & 1 << (bit & 31)) !== 0
  }

  /** The numbers, those of a part ascending. */
  *values(): Generator<number> {
    for (const [key, part] of this.parts) {
      for (let bit = 0; bit < partBits; bit++) {
        if (((part[bit >>> 5] as number) & 1 << (bit & 31)) !== 0) yield key * partBits + bit
      }
    }
  }
}
