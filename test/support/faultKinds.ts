/**
 * What may be refused at an operation: the kinds of faults, each once and for ever.
 */
import type { Fault, Observed } from "../../src/disk/FaultDisk.ts"

export type Kind =
  | "EIO"
  | "ENOSPC"
  | "EMFILE"
  | "EROFS"
  | "short write"
  | "sync drops its pages"
  | "sync keeps its pages"

export const kinds: ReadonlyArray<Kind> = [
  "EIO",
  "ENOSPC",
  "EMFILE",
  "EROFS",
  "short write",
  "sync drops its pages",
  "sync keeps its pages"
]

export const spans = ["once", "for ever"] as const
export type Span = typeof spans[number]

/** The code that whoever is refused is told. */
export const codeOf = (kind: Kind): string =>
  kind === "short write" ? "ENOSPC" : kind.startsWith("sync") ? "EIO" : kind

/** Which operations a kind can strike. */
const strikes = (kind: Kind, { operation }: Observed): boolean => {
  if (kind === "short write") return operation === "write"
  return kind.startsWith("sync") ? operation === "sync" : true
}

const outcomeOf = (kind: Kind): Fault["outcome"] => {
  if (kind === "short write") return { _tag: "Short", bytes: 700, code: "ENOSPC" }
  if (kind === "sync drops its pages") return { _tag: "SyncFailed", pages: "dropped" }
  if (kind === "sync keeps its pages") return { _tag: "SyncFailed", pages: "kept" }
  return { _tag: "Refused", code: kind }
}

/** The fault that strikes operation number `at`, counted from 1; undefined where the kind is none of that operation. */
export const faultAt = (
  operations: ReadonlyArray<Observed>,
  at: number,
  kind: Kind,
  span: Span
): Fault | undefined => {
  const struck = operations[at - 1]
  if (struck === undefined || !strikes(kind, struck)) return undefined
  const before = operations.slice(0, at).filter((each) => strikes(kind, each)).length
  const operation = kind === "short write" ? "write" : kind.startsWith("sync") ? "sync" : undefined
  return {
    ...(operation === undefined ? {} : { operation }),
    at: before,
    times: span === "once" ? 1 : Infinity,
    outcome: outcomeOf(kind)
  }
}
