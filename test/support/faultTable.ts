/**
 * What is promised for each operation of the disk that fails, and the check that a run kept to it.
 *
 * | while   | operation                                                             | promise   |
 * |---------|-----------------------------------------------------------------------|-----------|
 * | opening | any                                                                   | opens     |
 * | closing | any                                                                   | unnoticed |
 * | serving | a segment of the log: written, synced, made, named                    | stops     |
 * | serving | a segment prepared ahead of need, recycled, or given up               | unnoticed |
 * | serving | the reserve; how much is free                                         | unnoticed |
 * | serving | the page file: written with `EIO`; its length                         | unnoticed |
 * | serving | the page file: written with another code, synced; the superblocks     | delays    |
 * | serving | the page file or the log: read                                        | read      |
 *
 * - *opens*: opening fails with `DiskFailed`, which names operation, path and code; opened again, all is there.
 * - *stops*: whoever waits, and every later commit and checkpoint, fails with that one `DiskFailed`.
 * - *delays*: a checkpoint may fail with that `DiskFailed`; the next one works, and no commit fails.
 * - *read*: whoever reads may fail with that `DiskFailed`, and whoever reads next does not.
 *
 * A code that means a full disk may be told as `DiskFull` to whoever commits, while the store looks for room.
 *
 * Where everything fails from some operation on, the first operation of the log stops the store.
 */
import { assert } from "@effect/vitest"
import type { Kind, Span } from "./faultKinds.ts"
import { codeOf } from "./faultKinds.ts"
import type { Failed, Outcome, Struck } from "./faultRun.ts"

export type Promised = "opens" | "unnoticed" | "stops" | "delays" | "read"

const spare = /log\.spare\.new$/

/** Whether an operation makes the file of a segment before anybody needs it: from its first look to its name. */
const prepares = (operations: ReadonlyArray<Struck>, at: number): boolean => {
  const struck = operations[at - 1] as Struck
  if (!spare.test(struck.path)) return false
  if (["kind", "unlink", "open", "allocate", "rename"].includes(struck.operation)) return true
  // A segment keeps the path under which its file was opened: only the sync of the zeros belongs here.
  return struck.operation === "sync" && operations[at - 2]?.operation === "allocate"
}

/** Whether an operation gives a segment up, or recycles it. */
const prunes = (operations: ReadonlyArray<Struck>, at: number): boolean => {
  const struck = operations[at - 1] as Struck
  if (struck.operation === "unlink") return true
  if (struck.operation === "rename") return /log-\d+$/.test(struck.path)
  if (struck.operation !== "syncDirectory") return false
  const named = operations.slice(0, at).findLast(({ operation }) => operation === "rename")
  return named !== undefined && /log-\d+$/.test(named.path)
}

/** Whether an operation looks after the reserve, which begins beside the end of opening. */
const reserves = (operations: ReadonlyArray<Struck>, at: number): boolean => {
  const { operation, path } = operations[at - 1] as Struck
  const before = operations[at - 2]
  if (operation === "freeBytes" || path.endsWith("/reserve")) return true
  if (operation === "size") return before?.operation === "freeBytes"
  return operation === "syncDirectory" && before?.path.endsWith("/reserve") === true
}

/** The promise for operation number `at` that fails once. */
export const promised = (operations: ReadonlyArray<Struck>, at: number, kind: Kind): Promised => {
  const { operation, path, phase } = operations[at - 1] as Struck
  if (reserves(operations, at)) return "unnoticed"
  if (phase === "opening") return "opens"
  if (phase === "closing" || operation === "size" || operation === "truncate") return "unnoticed"
  if (prepares(operations, at) || prunes(operations, at)) return "unnoticed"
  if (operation === "read") return "read"
  if (path.endsWith("/pages") && operation === "write") return kind === "EIO" ? "unnoticed" : "delays"
  return path.endsWith("/pages") || path.endsWith("/super") ? "delays" : "stops"
}

/** The calls that may fail where a promise holds. */
const mayFail: Record<Promised, ReadonlyArray<Failed["call"]>> = {
  opens: ["open"],
  unnoticed: [],
  stops: ["commit", "checkpoint"],
  delays: ["checkpoint"],
  read: ["read", "checkpoint"]
}

const isFull = (reason: string, kind: Kind): boolean => reason === "DiskFull" && codeOf(kind) === "ENOSPC"

/** Asserts that a run kept what is promised for the operation that its fault struck. */
export const check = (
  outcome: Outcome,
  fault: { readonly at: number; readonly kind: Kind; readonly span: Span }
): Promised => {
  const { accepting, failed, operations } = outcome
  const { at, kind, span } = fault
  const promise = promised(operations, at, kind)
  const struck = operations[at - 1] as Struck
  for (const { call, error: { reason } } of failed) {
    const what = `a ${call} fails with ${reason.message}`
    if (isFull(reason._tag, kind) && call === "commit") continue
    assert.strictEqual(reason._tag, "DiskFailed", what)
    if (reason._tag !== "DiskFailed") continue
    assert.strictEqual(reason.code, codeOf(kind), what)
    if (span === "for ever") continue
    assert.include(mayFail[promise], call, what)
    assert.deepStrictEqual([reason.operation, reason.path], [struck.operation, struck.path], what)
  }
  assert.strictEqual(accepting === undefined, promise === "opens")
  assert.strictEqual(accepting === undefined, failed.some(({ call }) => call === "open"))
  if (span === "once") assert.strictEqual(accepting === false, promise === "stops", "it stopped")
  // Everybody hears of it in the same way, and a store that goes on has refused no commit.
  const refused = failed.filter(({ call, error }) => call === "commit" && !isFull(error.reason._tag, kind))
    .map(({ error }) => error)
  assert.isAtMost(new Set(refused).size, 1, "reasons why commits were refused")
  if (accepting === true) assert.lengthOf(refused, 0, "commits that were refused")
  return promise
}
