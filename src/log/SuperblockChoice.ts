/**
 * Which of the two superblock slots is the store: a decision table.
 *
 * Every combination of what the slots can hold meets exactly one row, so nothing is decided by omission. No row
 * ever answers "fresh store": the file was there, so a store was.
 */
import { invariant } from "../Invariant.ts"
import type { DecodedSuperblock, Superblock } from "./Superblock.ts"

const kinds = ["Valid", "Empty", "Invalid", "TooNew"] as const
const orders = ["older", "equal", "newer"] as const
const stores = ["same", "other"] as const
const partners = ["expected", "unexpected"] as const

export interface ChoiceFacts {
  readonly a: (typeof kinds)[number]
  readonly b: (typeof kinds)[number]
  /** Version of slot 0 against that of slot 1, if both are valid. */
  readonly order: (typeof orders)[number]
  /** Whether both have the same store id, if both are valid. */
  readonly store: (typeof stores)[number]
  /** Whether the newest valid slot expects the version (or emptiness) that the other one has. */
  readonly partner: (typeof partners)[number]
}

export type ChoiceVerdict =
  | "use a"
  | "use a, b damaged"
  | "use b"
  | "use b, a damaged"
  | "unreadable"
  | "mixed"
  | "too new"

export interface ChoiceRow {
  readonly a: ReadonlyArray<ChoiceFacts["a"]>
  readonly b: ReadonlyArray<ChoiceFacts["b"]>
  readonly order: ReadonlyArray<ChoiceFacts["order"]>
  readonly store: ReadonlyArray<ChoiceFacts["store"]>
  readonly partner: ReadonlyArray<ChoiceFacts["partner"]>
  readonly verdict: ChoiceVerdict
}

/** All values of each fact, for whoever wants to walk them. */
export const choiceFacts = { a: kinds, b: kinds, order: orders, store: stores, partner: partners } as const

const row = (verdict: ChoiceVerdict, facts: Partial<Omit<ChoiceRow, "verdict">>): ChoiceRow => ({
  a: kinds,
  b: kinds,
  order: orders,
  store: stores,
  partner: partners,
  ...facts,
  verdict
})

const V = ["Valid"] as const
const E = ["Empty"] as const
const I = ["Invalid"] as const
const readable = ["Valid", "Empty", "Invalid"] as const
const both = { a: V, b: V, store: ["same"] } as const

/**
 * A slot of a newer format wins over everything: going back to the older checkpoint would undo what a newer
 * version wrote. Slots of two stores, or two slots of one version, were never written by one store. A slot that
 * is not what the newest expects is stale or was wiped: the newest is good, its fallback is not.
 */
export const choiceTable: ReadonlyArray<ChoiceRow> = [
  row("too new", { a: ["TooNew"] }),
  row("too new", { a: readable, b: ["TooNew"] }),
  row("mixed", { a: V, b: V, store: ["other"] }),
  row("mixed", { ...both, order: ["equal"] }),
  row("use a", { ...both, order: ["newer"], partner: ["expected"] }),
  row("use a, b damaged", { ...both, order: ["newer"], partner: ["unexpected"] }),
  row("use b", { ...both, order: ["older"], partner: ["expected"] }),
  row("use b, a damaged", { ...both, order: ["older"], partner: ["unexpected"] }),
  row("use a", { a: V, b: E, partner: ["expected"] }),
  row("use a, b damaged", { a: V, b: E, partner: ["unexpected"] }),
  row("use a, b damaged", { a: V, b: I }),
  row("use b", { a: E, b: V, partner: ["expected"] }),
  row("use b, a damaged", { a: E, b: V, partner: ["unexpected"] }),
  row("use b, a damaged", { a: I, b: V }),
  row("unreadable", { a: ["Empty", "Invalid"], b: ["Empty", "Invalid"] })
]

export const meetsChoice = (entry: ChoiceRow, facts: ChoiceFacts): boolean =>
  entry.a.includes(facts.a) && entry.b.includes(facts.b) && entry.order.includes(facts.order)
  && entry.store.includes(facts.store) && entry.partner.includes(facts.partner)

export type Choice =
  | {
    readonly _tag: "Chosen"
    readonly superblock: Superblock
    /** The older retained checkpoint, if its superblock is whole. */
    readonly older: Superblock | undefined
    /** What is wrong with the other slot: to be reported, and replay must reach the durable LSN. */
    readonly damage: string | undefined
  }
  | { readonly _tag: "Unreadable"; readonly reasons: readonly [string, string] }
  | { readonly _tag: "Mixed"; readonly reason: string }
  | { readonly _tag: "TooNew"; readonly format: number }

/** Decides between what stands in slot 0 and in slot 1. */
export const chooseSuperblock = (a: DecodedSuperblock, b: DecodedSuperblock): Choice => {
  const facts = factsOf(a, b)
  const verdict = choiceTable.find((entry) => meetsChoice(entry, facts))?.verdict
  switch (verdict) {
    case "use a":
    case "use a, b damaged":
      return chosen(a, b, verdict === "use a")
    case "use b":
    case "use b, a damaged":
      return chosen(b, a, verdict === "use b")
    case "unreadable":
      return { _tag: "Unreadable", reasons: [describe(a), describe(b)] }
    case "mixed":
      return {
        _tag: "Mixed",
        reason: facts.store === "other" ? "slots of two stores" : "two slots of one version"
      }
    default: {
      const newest = Math.max(a._tag === "TooNew" ? a.format : 0, b._tag === "TooNew" ? b.format : 0)
      invariant(newest > 0, "SuperblockChoice: every combination has a row")
      return { _tag: "TooNew", format: newest }
    }
  }
}

const factsOf = (a: DecodedSuperblock, b: DecodedSuperblock): ChoiceFacts => {
  const left = a._tag === "Valid" ? a.superblock : undefined
  const right = b._tag === "Valid" ? b.superblock : undefined
  const difference = (left?.version ?? 0) - (right?.version ?? 0)
  const newest = difference >= 0 ? left : right
  const other = difference >= 0 ? right : left
  return {
    a: a._tag,
    b: b._tag,
    order: difference < 0 ? "older" : difference > 0 ? "newer" : "equal",
    store: left === undefined || right === undefined || sameId(left, right) ? "same" : "other",
    partner: (newest?.otherVersion ?? 0) === (other?.version ?? 0) ? "expected" : "unexpected"
  }
}

const sameId = (left: Superblock, right: Superblock): boolean =>
  Buffer.compare(left.storeId, right.storeId) === 0

const chosen = (winner: DecodedSuperblock, other: DecodedSuperblock, sound: boolean): Choice => {
  invariant(winner._tag === "Valid", "SuperblockChoice: only a valid slot is chosen")
  return {
    _tag: "Chosen",
    superblock: winner.superblock,
    older: sound && other._tag === "Valid" ? other.superblock : undefined,
    damage: sound ? undefined : describe(other)
  }
}

const describe = (slot: DecodedSuperblock): string =>
  slot._tag === "Invalid"
    ? slot.reason
    : slot._tag === "Empty"
    ? "superblock is empty"
    : slot._tag === "Valid"
    ? "superblock is stale"
    : "superblock of a newer format"
