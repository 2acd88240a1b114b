/**
 * Which keys were read from base pages lately: who comes again is worth a copy in a mini-page.
 *
 * A table of fingerprints without chains, and without order: a key overwrites whichever has its place, so that what is
 * read seldom is forgotten before it is read again. After the ghosts of ARC (Megiddo and Modha, FAST 2003), without
 * their exact order, which takes ten times the memory. Rejected: a dice alone, as Bf-Tree has it. Half of what it
 * lets in is never read again.
 *
 * I1 It only guesses: whatever it says, a copy is right (`MiniPage.ts`, I1).
 *
 * It must not know what a key is, nor whether it has a copy.
 */
import type { Arena } from "./Arena.ts"

/** Of the arena's bytes, one fingerprint of two for so many: two to four per cent. */
const bytesEach = 48

export class Ghosts {
  private prints = new Uint16Array(0)
  private readonly length: number

  constructor(arena: Arena) {
    this.length = 2 ** Math.floor(Math.log2(arena.blocks * arena.pageBytes / bytesEach))
  }

  get bytes(): number {
    return this.prints.byteLength
  }

  /** Notes a read of a key with this hash; whether there was one lately. */
  again(hash: number): boolean {
    if (this.prints.length === 0) this.prints = new Uint16Array(this.length)
    // Of bits that the place does not have; 0 is nobody's.
    const print = (Math.imul(hash, 0x85ebca6b) >>> 16) | 1
    const place = hash & this.length - 1
    const found = this.prints[place] === print
    this.prints[place] = print
    return found
  }
}
