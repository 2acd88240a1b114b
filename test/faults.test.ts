/**
 * A fault at every operation of the disk: what is refused, once or for ever, ends every call as the table says, and
 * loses nothing that was acknowledged as synced.
 *
 * Every operation is struck; of the kinds of faults, some are chosen by `HEARTWOOD_SEED`. `npm run test:faults` tries
 * all of them. `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Kind, Span } from "./support/faultKinds.ts"
import { codeOf, faultAt, kinds, spans } from "./support/faultKinds.ts"
import type { Leaving, Struck } from "./support/faultRun.ts"
import { runWith } from "./support/faultRun.ts"
import type { Promised } from "./support/faultTable.ts"
import { check } from "./support/faultTable.ts"
import { figure } from "./support/figures.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"

const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const isWhole = process.env["HEARTWOOD_FAULTS"] === "all"
/** Faults at each operation, of those that can strike it. */
const perOperation = isWhole ? Infinity : 3

const figures = { operations: 0, runs: 0, stopped: 0, failedOpens: 0, cpuSeconds: 0 }
const reached: Record<Promised, number> = { opens: 0, unnoticed: 0, stops: 0, delays: 0, read: 0 }

/** The operations of a run without faults, which lacks nothing that a fault could strike. */
const operationsOf = (together: Leaving["together"]): ReadonlyArray<Struck> => {
  const outcome = runWith([], { by: "close", heals: false, together, seed })
  assert.deepStrictEqual(outcome.failed, [])
  assert.isAbove(outcome.evictions, 20)
  assert.isTrue(outcome.accepting)
  for (const phase of ["opening", "serving", "closing"]) {
    assert.isTrue(outcome.operations.some((each) => each.phase === phase), phase)
  }
  return outcome.operations
}

const strike = (
  operations: ReadonlyArray<Struck>,
  at: number,
  kind: Kind,
  span: Span,
  leaving: Leaving
): void => {
  const fault = faultAt(operations, at, kind, span)
  if (fault === undefined) return
  const { operation, path, phase } = operations[at - 1] as Struck
  try {
    const outcome = runWith([fault], leaving)
    reached[check(outcome, { at, kind, span })]++
    figures.runs++
    if (outcome.accepting === false) figures.stopped++
    if (outcome.accepting === undefined) figures.failedOpens++
  } catch (error) {
    const place = `${kind}, ${span}, at ${at}: ${phase} ${operation} ${path}, ${JSON.stringify(leaving)}`
    throw new Error(`HEARTWOOD_SEED=${seed}, ${place}: ${error instanceof Error ? error.message : error}`)
  }
}

const leavings = ["close", "kill", "cut"] as const

const togetherOf = (kind: Kind): Leaving["together"] => codeOf(kind) === "ENOSPC" ? 1 : 3

/** What is struck while the store closes happens in no other case. */
const leavingOf = (chance: Random, { phase }: Struck, together: Leaving["together"]): Leaving => ({
  together,
  by: phase === "closing" ? "close" : chance.pick(leavings),
  heals: phase !== "closing" && chance.bool(0.5),
  seed: chance.int(2 ** 31)
})

describe("a fault at every operation", () => {
  it("ends every call as promised, and loses nothing", () => {
    const started = process.cpuUsage()
    const operationsBy = { 1: operationsOf(1), 3: operationsOf(3) }
    const count = Math.max(operationsBy[1].length, operationsBy[3].length)
    figures.operations = count
    const chance = random(seed)
    for (let at = 1; at <= count; at++) {
      // The first is always the plainest: an operation that fails once.
      const faults = kinds.flatMap((kind) => spans.map((span) => [kind, span] as const))
        .filter(([kind, span]) => faultAt(operationsBy[togetherOf(kind)], at, kind, span) !== undefined)
      while (faults.length > perOperation) faults.splice(1 + chance.int(faults.length - 1), 1)
      for (const [kind, span] of faults) {
        const together = togetherOf(kind)
        const operations = operationsBy[together]
        strike(operations, at, kind, span, leavingOf(chance, operations[at - 1] as Struck, together))
      }
    }
    figures.cpuSeconds = process.cpuUsage(started).user / 1e6
    figure("C3 faults at every operation", figures, reached)
    for (const [promise, count] of Object.entries(reached)) assert.isAbove(count, 10, promise)
  }, 3_600_000)
})
