/**
 * Operands of a body: whether one stays an operand, or the body puts what comes of it.
 *
 * I1 An operand is handed over only where what comes of it stays in its leaf (`tree/page/Operand.ts`, I2).
 *
 * Whoever calls has seen to it that the body runs, and that its writes have the keyspace's layout.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Limits } from "../Limits.ts"
import { inlinePairBytesOf } from "../Limits.ts"
import type { Declared } from "../Machine.ts"
import { folded } from "../Overlay.ts"
import type { Row } from "../Row.ts"
import type { StoreError } from "../StoreError.ts"
import { grows, Reducer } from "../tree/page/Fold.ts"
import type { Write, WriteSet } from "../WriteSet.ts"
import type { OwnView } from "./OwnView.ts"

/** A keyspace whose values operands are folded into. */
export interface Merging extends Declared {
  readonly reducer: number
  /** What is to be stored instead of a value to which more than `most` operands were added; itself if it is to stay. */
  readonly compact: (stored: Uint8Array, most: number) => Uint8Array | Exit.Exit<never, StoreError>
}

/** How a key is written; of an operand that was folded into one before, `operand` is what is new. */
export type How = Pick<Write, "reducer" | "expiry"> & { readonly operand?: Uint8Array }

/** What it reads and writes through. */
interface Door {
  readonly limits: Limits
  readonly own: OwnView
  /** The row that the store has of a key; noted as read. */
  readonly stored: (keyspace: Declared, key: Uint8Array) => Effect.Effect<Row | undefined, StoreError>
  readonly set: (
    keyspace: Declared,
    key: Uint8Array,
    value: Uint8Array | undefined,
    how: How
  ) => Effect.Effect<void, StoreError>
}

export class Merges {
  private readonly body: { readonly writes: WriteSet }
  private readonly door: Door

  constructor(body: { readonly writes: WriteSet }, door: Door) {
    this.body = body
    this.door = door
  }

  /**
   * Notes an operand, without a look at what is stored, where its reducer makes nothing longer of it. Else it is only
   * an operand if what comes of it stays in its leaf, so what is stored is read; otherwise the transaction puts what
   * comes of it, and so it does where it knows the value itself.
   */
  merge(keyspace: Merging, key: Uint8Array, operand: Uint8Array): Effect.Effect<void, StoreError> {
    const { reducer } = keyspace
    const own = this.body.writes.find(keyspace.name)
    const write = own?.get(key)
    const isKnown = write === undefined ? own?.cleared === true : write.reducer === undefined
    if (isKnown || reducer === Reducer.last) {
      const merged = folded(reducer, write?.value, operand)
      return this.putMerged(keyspace, key, merged, reducer === Reducer.last ? undefined : write?.expiry)
    }
    if (this.door.own.hasRuns(keyspace.name)) return this.mergeBeyond(keyspace, key, operand, write)
    const operands = folded(reducer, write?.value, operand)
    if (!grows(reducer)) return this.door.set(keyspace, key, operands, { reducer, operand })
    return Effect.flatMap(this.door.stored(keyspace, key), (row) => {
      // Another fiber of the body may have written meanwhile.
      const now = this.body.writes.find(keyspace.name)
      if (now?.get(key) !== write || now?.cleared === true || this.door.own.hasRuns(keyspace.name)) {
        return this.merge(keyspace, key, operand)
      }
      const merged = folded(reducer, row?.value, operands)
      const stays = row?.isLarge !== true && this.staysInLeaf(key, merged)
      const stored = keyspace.compact(merged, stays ? this.door.limits.operandChain : 0)
      if (Exit.isExit(stored)) return stored
      const expiry = row?.expiry
      return stays && stored === merged && expiry === undefined
        ? this.door.set(keyspace, key, operands, { reducer, operand })
        : this.door.set(keyspace, key, stored, { expiry })
    })
  }

  /** The same where part of what was written is in the log: `above` is the operand in memory. */
  private mergeBeyond(keyspace: Merging, key: Uint8Array, operand: Uint8Array, above: Write | undefined) {
    const { reducer } = keyspace
    const seen = this.door.own.seen(keyspace.name, key)
    return Effect.flatMap(this.door.own.find(keyspace.name, key, above), ({ hides, write }) => {
      // Another fiber of the body may have written meanwhile.
      if (!seen()) return this.merge(keyspace, key, operand)
      const operands = folded(reducer, write?.value, operand)
      if (hides) return this.putMerged(keyspace, key, operands, write?.expiry)
      if (!grows(reducer)) {
        return this.door.set(keyspace, key, folded(reducer, above?.value, operand), { reducer, operand })
      }
      return Effect.flatMap(this.door.stored(keyspace, key), (row) =>
        seen()
          ? this.putMerged(keyspace, key, folded(reducer, row?.value, operands), row?.expiry)
          : this.merge(keyspace, key, operand))
    })
  }

  /** Puts a value that operands were added to. */
  private putMerged(
    keyspace: Merging,
    key: Uint8Array,
    merged: Uint8Array,
    expiry: number | undefined
  ): Effect.Effect<void, StoreError> {
    const stored = keyspace.compact(merged, this.door.limits.operandChain)
    return Exit.isExit(stored) ? stored : this.door.set(keyspace, key, stored, { expiry })
  }

  /** Whether a leaf keeps a value of a key itself. */
  private staysInLeaf(key: Uint8Array, value: Uint8Array): boolean {
    const { inlineValueBytes, pageBytes } = this.door.limits
    const pairBytes = (key.length + 3 & ~3) + (value.length + 3 & ~3)
    return value.length <= inlineValueBytes && pairBytes <= inlinePairBytesOf(pageBytes)
  }
}
