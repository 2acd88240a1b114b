/**
 * Operands: what a merge wrote without knowing the value it is for, and that value where it is at hand.
 *
 * An operand stands in a mini-page, or in Versions once it is displaced there. It holds everything that was merged
 * since the value below it, folded into one.
 *
 * I1 An operand stands on the base page's record, if that is older than it; else on nothing. When the record of a base
 *    page goes to Versions for a mini-page, the operands on it there become values (`Versions.settleOperands`).
 * I2 What an operand stands on is in the leaf: whoever merges into a value that is in the log writes a value.
 * I3 What an operand stands on does not expire: in a tree with records that do, an operand is folded when it is
 *    written, as only then it is known whether the record below it counted.
 *
 * It must not know who asks.
 */
import { invariant } from "../../Invariant.ts"
import { Fold } from "./Fold.ts"
import type { KeyScratch } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import * as Page from "./Page.ts"

/** The value of a record where it lies. */
export const valueOf = (words: Int32Array, record: number, keyBytes: number): Uint8Array =>
  new Uint8Array(
    words.buffer,
    words.byteOffset + Leaf.valueAt(words, record, keyBytes) * 4,
    Leaf.valueBytesAt(words, record)
  )

/** A value that was folded, and when it expires: as the value below the operand does. */
export class Folding extends Fold {
  expiry = Infinity

  /** Folds an operand into nothing. */
  alone(reducer: number, operand: Uint8Array): void {
    this.expiry = Infinity
    this.of(reducer, undefined, operand)
  }

  /** Folds an operand into record `index` of a page, or into nothing where that has expired by `millis`. */
  into(
    words: Int32Array,
    p: number,
    index: number,
    reducer: number,
    operand: Uint8Array,
    millis = -Infinity
  ): void {
    const record = Leaf.recordAt(words, p, index)
    const keyBytes = Page.slotBytes(words, p, index)
    this.expiry = Leaf.expiryAt(words, record, keyBytes)
    if (this.expiry <= millis) return this.alone(reducer, operand)
    invariant(Leaf.kindAt(words, record) !== Leaf.Kind.Reference, "Operand I2")
    this.of(reducer, valueOf(words, record, keyBytes), operand)
  }

  /** Folds an operand of version `version` into what it stands on in the base page. */
  onto(
    words: Int32Array,
    p: number,
    key: KeyScratch,
    reducer: number,
    operand: Uint8Array,
    version: number,
    millis = -Infinity
  ): void {
    const index = Leaf.find(words, p, key)
    if (index < 0 || Leaf.versionAt(words, Leaf.recordAt(words, p, index)) >= version) {
      this.alone(reducer, operand)
    } else {
      this.into(words, p, index, reducer, operand, millis)
    }
  }
}
