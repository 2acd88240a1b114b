/**
 * What an operation of the tree answers, and the record that a read has found.
 *
 * A found record is remembered as an address, or as an entry of Versions: a view would cost the collector's write
 * barrier, and a copy its bytes. Only what had to be folded has a place of its own. A find is valid until the next
 * operation.
 */
import type { Arena } from "../memory/Arena.ts"
import * as Leaf from "../page/Leaf.ts"
import { Folding } from "../page/Operand.ts"
import type { Reference } from "../page/Reference.ts"
import { readReference } from "../page/Reference.ts"
import { ValueOut } from "../page/ValueOut.ts"
import type { Versions } from "../past/Versions.ts"
import type { Many } from "./Many.ts"

export const Absent = 0
export const Found = 1
export const Added = 2
export const Replaced = 3
export const Removed = 4
/** Written or removed without a look at the base page: nobody knows whether the key was there. */
export const Written = 5
export const Missing = -1
export const NoSpace = -2
/** The way to the leaf has changed: the operation starts again. Never leaves the kernel. */
export const Again = -3

/** In the place of a page after `Missing`: none is, but a part of the scratch file. */
export const inScratch = -1

/** For `foundEntry`: what was found was folded. */
export const inFolding = -2

export class Finding {
  /** Bytes of values, and of keys and values of ranges, that were given to whoever asked. */
  answeredBytes = 0
  private readonly memory: Arena
  private readonly past: Versions
  private readonly out = new ValueOut()
  /** The record that was found: its address and stored key bytes; or an entry of Versions, or `inFolding`. */
  protected foundAt = 0
  protected foundKey = 0
  protected foundEntry = -1
  /** What was folded for a reader, and the version of its operand. */
  protected readonly folding = new Folding()
  protected foldedVersion = 0

  constructor(memory: Arena, past: Versions) {
    this.memory = memory
    this.past = past
  }

  private foundWords(): Int32Array {
    return this.memory.wordsOf(this.foundAt)
  }

  /** Word offset of the record found within its chunk. */
  private foundRecord(): number {
    return this.foundAt & this.memory.mask
  }

  /** Version of the record found. */
  foundVersion(): number {
    if (this.foundEntry === -1) return Leaf.versionAt(this.foundWords(), this.foundRecord())
    return this.foundEntry < 0 ? this.foldedVersion : this.past.versionOf(this.foundEntry)
  }

  foundKind(): number {
    if (this.foundEntry === -1) return Leaf.kindAt(this.foundWords(), this.foundRecord())
    return this.foundEntry < 0 ? Leaf.Kind.Value : this.past.kindOf(this.foundEntry)
  }

  /** When the record found expires, in milliseconds; Infinity where it does not. */
  foundExpiry(): number {
    if (this.foundEntry === -1) {
      return Leaf.expiryAt(this.foundWords(), this.foundRecord(), this.foundKey)
    }
    return this.foundEntry < 0 ? this.folding.expiry : this.past.expiryOf(this.foundEntry)
  }

  /** Where the value found lives, if that is the log. */
  foundReference(): Reference | undefined {
    return this.foundKind() === Leaf.Kind.Reference ? readReference(this.copy()) : undefined
  }

  /** Gives the record found to `many` as the answer for key `index`, unless it has expired. */
  giveTo(many: Many, index: number): void {
    const entry = this.foundEntry
    if (entry === -1) {
      return this.giveRecord(many, index, this.foundWords(), this.foundRecord(), this.foundKey)
    }
    const expiry = this.foundExpiry()
    if (expiry <= many.now) return
    const kind = this.foundKind()
    many.setRow(index, kind, this.foundVersion(), expiry)
    if (many.columns === "keys") return
    const length = this.valueBytes()
    if (kind !== Leaf.Kind.Reference) this.answeredBytes += length
    if (entry === inFolding) return many.setValue(index, this.folding.words, 0, length)
    many.setValue(index, this.past.wordsOfEntry(entry), this.past.valueAt(entry) >>> 2, length)
  }

  /** The same of a record of a page. */
  giveRecord(many: Many, index: number, words: Int32Array, record: number, keyBytes: number): void {
    const expiry = Leaf.expiryAt(words, record, keyBytes)
    if (expiry <= many.now) return
    const kind = Leaf.kindAt(words, record)
    many.setRow(index, kind, Leaf.versionAt(words, record), expiry)
    if (many.columns === "keys") return
    const length = Leaf.valueBytesAt(words, record)
    if (kind !== Leaf.Kind.Reference) this.answeredBytes += length
    many.setValue(index, words, Leaf.valueAt(words, record, keyBytes), length)
  }

  /** Bytes of the value found. */
  valueBytes(): number {
    if (this.foundEntry === -1) return Leaf.valueBytesAt(this.foundWords(), this.foundRecord())
    return this.foundEntry < 0 ? this.folding.length : this.past.valueBytesOf(this.foundEntry)
  }

  /** A copy of the value found. */
  value(): Uint8Array {
    const value = this.copy()
    this.answeredBytes += value.length
    return value
  }

  private copy(): Uint8Array {
    if (this.foundEntry >= 0) {
      const from = this.past.valueAt(this.foundEntry)
      return this.past.bytesOf(this.foundEntry).slice(from, from + this.valueBytes())
    }
    if (this.foundEntry === inFolding) return this.folding.value().slice()
    const words = this.foundWords()
    const record = this.foundRecord()
    const bytes = this.memory.bytesOf(this.foundAt)
    return this.out.copy(
      words,
      bytes,
      Leaf.valueAt(words, record, this.foundKey),
      Leaf.valueBytesAt(words, record)
    )
  }

  /** Copies the value found into `target` from `offset` on, where there must be room; answers its length. */
  valueInto(target: Uint8Array, offset: number): number {
    const length = this.valueBytes()
    this.answeredBytes += length
    if (this.foundEntry >= 0) {
      const from = this.past.valueAt(this.foundEntry)
      target.set(this.past.bytesOf(this.foundEntry).subarray(from, from + length), offset)
      return length
    }
    if (this.foundEntry === inFolding) {
      target.set(this.folding.value(), offset)
      return this.folding.length
    }
    const words = this.foundWords()
    const record = this.foundRecord()
    const bytes = this.memory.bytesOf(this.foundAt)
    this.out.copyInto(words, bytes, Leaf.valueAt(words, record, this.foundKey), length, target, offset)
    return length
  }
}
