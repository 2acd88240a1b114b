/**
 * Everything that can be wrong with a history: what each checker makes of it, under one roof.
 */
import type { History, Life, Transaction } from "./history.ts"
import type { Anomaly, Observed } from "./historyGraph.ts"
import type { ListOp } from "./historyLists.ts"
import { checkLists } from "./historyLists.ts"
import type { RegisterOp } from "./historyRegisters.ts"
import { checkBank, checkRegisters } from "./historyRegisters.ts"
import type { Problem } from "./historyReplay.ts"
import { checkReplay, commitsOf } from "./historyReplay.ts"
import { checkSessions } from "./historySessions.ts"
import { accounts, bankTotal, elementBytes } from "./historyWorkload.ts"
import type { Result, Row, State, Step } from "./storeModel.ts"
import { rowsOf } from "./storeModel.ts"

export interface Checked {
  readonly problems: ReadonlyArray<Problem>
  /** Commits that a crash took back, as it may. */
  readonly lost: number
}

/** Checks a history in every way. */
export const check = (history: History): Checked => {
  const { kept, problems } = checkReplay(history)
  const lost = history.reduce((sum, life, index) => sum + commitsOf(life).length - (kept[index] as number), 0)
  const sessions = checkSessions(history, kept).map((anomaly) => ({
    checker: "sessions" as const,
    ...anomaly
  }))
  return { problems: [...problems, ...history.flatMap(checkLife), ...sessions], lost }
}

const checkLife = (life: Life): ReadonlyArray<Problem> => {
  const time = { until: life.broken }
  const named = (checker: Problem["checker"], anomalies: ReadonlyArray<Anomaly>): ReadonlyArray<Problem> =>
    anomalies.map((anomaly) => ({ checker, ...anomaly }))
  const lists = life.transactions.map((transaction) => observed(transaction, listOps))
  const registers = life.transactions.map((transaction) => observed(transaction, registerOps))
  const valuesOf = (keyspace: string): ReadonlyMap<string, string> =>
    new Map(rowsOf(life.found, keyspace).map(({ key, value }) => [key, value]))
  const initial = new Map([...valuesOf("journal")].map(([key, value]) => [key, elementsOf(value)]))
  return [
    ...named("cycles", checkLists(lists, initial, time)),
    ...named("registers", checkRegisters(registers, valuesOf("one"), time)),
    ...named("bank", checkBank(totals(life), bankTotal))
  ]
}

/** A step that was carried out, and what it answered if it answers. */
type Seen = readonly [step: Step, result: Result | undefined]

const silent: ReadonlySet<Step["_tag"]> = new Set(["put", "remove", "merge", "clear", "drop", "savepoint"])

/** The steps of a body with their answers; those of savepoints that failed are left out. */
const seen = (steps: ReadonlyArray<Step>, results: ReadonlyArray<Result>): ReadonlyArray<Seen> => {
  const all: Array<Seen> = []
  let next = 0
  const walk = (step: Step, counts: "counts" | "does not count"): void => {
    const result = silent.has(step._tag) ? undefined : results[next++]
    if (step._tag !== "savepoint") {
      if (counts === "counts") all.push([step, result])
      return
    }
    for (const inner of step.steps) walk(inner, step.fails ? "does not count" : counts)
  }
  for (const step of steps) walk(step, "counts")
  return all
}

const statusOf = ({ outcome }: Transaction): Observed<never>["status"] =>
  outcome._tag === "committed" ? "ok" : outcome._tag === "failed" ? "fail" : "info"

const observed = <Op>(
  transaction: Transaction,
  opsOf: (seen: Seen) => ReadonlyArray<Op>
): Observed<Op> => {
  const { attempts, ended, id, invoked, unseen } = transaction
  const { results = [], steps = [] } = attempts.at(-1) ?? {}
  const status = statusOf(transaction)
  return {
    id,
    invoked,
    ended: status === "info" ? Infinity : ended,
    status,
    unseen,
    ops: seen(steps, results).flatMap(opsOf)
  }
}

const elementsOf = (value: string): ReadonlyArray<string> =>
  Array.from(
    { length: value.length / elementBytes },
    (_, index) => value.slice(index * elementBytes, (index + 1) * elementBytes)
  )

const rowOf = (result: Result | undefined): Row | undefined =>
  typeof result === "object" ? result[0] : undefined

const listOps = ([step, result]: Seen): ReadonlyArray<ListOp> => {
  if (!("keyspace" in step) || step.keyspace !== "journal") return []
  switch (step._tag) {
    case "get":
      return [["r", step.key, elementsOf(rowOf(result)?.value ?? "")]]
    case "put":
      return [["append", step.key, step.value.slice(-elementBytes)]]
    case "merge":
      return [["append", step.key, step.operand]]
    case "modify":
      return [
        ["r", step.key, elementsOf(result === "absent" ? "" : String(result))],
        ["append", step.key, step.tail]
      ]
    default:
      return []
  }
}

const registerOps = ([step, result]: Seen): ReadonlyArray<RegisterOp> => {
  if (!("keyspace" in step) || step.keyspace !== "one") return []
  switch (step._tag) {
    case "get":
      return [["r", step.key, rowOf(result)?.value]]
    case "getMany":
      return step.keys.map((key, index) =>
        ["r", key, typeof result === "object" ? result[index]?.value : undefined] as const
      )
    case "put":
      return [["w", step.key, step.value]]
    case "insert":
      return result === "inserted" ? [["r", step.key, undefined], ["w", step.key, step.value]] : []
    case "replace":
      return result === "replaced" ? [["w", step.key, step.value]] : []
    case "modify": {
      const value = result === "absent" ? undefined : String(result)
      return [["r", step.key, value], ["w", step.key, (value ?? "") + step.tail]]
    }
    default:
      return []
  }
}

/** Every look at all accounts, also by bodies that lost or failed; and what was found when the store was opened. */
const totals = (
  life: Life
): ReadonlyArray<{ readonly id: number; readonly balances: ReadonlyArray<number> }> => {
  const looks = life.transactions.flatMap(({ attempts, id }) =>
    attempts.flatMap(({ results, steps }) =>
      seen(steps, results).flatMap(([step, result]) => {
        const isWhole = "keyspace" in step && step.keyspace === "bank"
          && (step._tag === "getMany" || step._tag === "range")
        return isWhole && typeof result === "object"
          ? [{ id, balances: result.map((row) => Number(row?.value)) }]
          : []
      })
    )
  )
  const found = balancesOf(life.found)
  return found.length === 0 ? looks : [...looks, { id: 0, balances: found }]
}

const balancesOf = (state: State): ReadonlyArray<number> => {
  const rows = rowsOf(state, "bank")
  return rows.length === 0 ? [] : accounts.map((key) => Number(rows.find((row) => row.key === key)?.value))
}
