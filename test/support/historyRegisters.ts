/**
 * Registers, each value of which is written once, and accounts, the sum of which never changes.
 *
 * The order of a register's versions is known where a transaction read one and wrote the next; what was there in the
 * beginning comes before all others. That is less than the order of LSNs says, and asks the store for nothing.
 */
import type { Anomaly, Observed } from "./historyGraph.ts"
import { Graph } from "./historyGraph.ts"
import type { Time } from "./historyLists.ts"

/** Undefined: there was none. */
export type Value = string | undefined

export type RegisterOp =
  | readonly ["w", key: string, value: string]
  | readonly ["r", key: string, value: Value]

/** What one transaction did to one register, as others see it. */
interface Access {
  readonly transaction: Observed<RegisterOp>
  readonly key: string
  /** What it read before it wrote. */
  readonly read: { readonly value: Value } | undefined
  readonly written: ReadonlyArray<string>
}

/** Every anomaly of some registers. Ids of transactions are above 0. */
export const checkRegisters = (
  observed: ReadonlyArray<Observed<RegisterOp>>,
  initial: ReadonlyMap<string, string>,
  time: Time
): ReadonlyArray<Anomaly> => {
  const anomalies: Array<Anomaly> = []
  const accesses = observed.flatMap((transaction) => accessesOf(transaction, anomalies))
  const graph = new Graph()
  for (const key of new Set(accesses.map(({ key }) => key))) {
    connect(accesses.filter((access) => access.key === key), initial.get(key), graph, anomalies)
  }
  graph.addTime(observed, time.until)
  return [...anomalies, ...graph.cycles()]
}

const accessesOf = (transaction: Observed<RegisterOp>, anomalies: Array<Anomaly>): ReadonlyArray<Access> => {
  const accesses = new Map<
    string,
    { key: string; read: { value: Value } | undefined; written: Array<string> }
  >()
  for (const [kind, key, value] of transaction.ops) {
    const access = accesses.get(key) ?? { key, read: undefined, written: [] }
    accesses.set(key, access)
    if (kind === "w") {
      access.written.push(value)
      continue
    }
    const expected = access.written.length > 0 ? { value: access.written.at(-1) } : access.read
    if (expected !== undefined && expected.value !== value) {
      anomalies.push({
        name: "internal",
        text: `T${transaction.id} read ${value} of ${key}, and knew ${expected.value}`
      })
    }
    if (expected === undefined) access.read = { value }
  }
  return [...accesses.values()].map((access) => ({ ...access, transaction }))
}

/** Adds the edges of one register. */
const connect = (
  accesses: ReadonlyArray<Access>,
  initial: Value,
  graph: Graph,
  anomalies: Array<Anomaly>
): void => {
  const writers = new Map<Value, Access>()
  for (const access of accesses) for (const value of access.written) writers.set(value, access)
  const committed = accesses.filter(({ transaction }) => transaction.status === "ok")
  const updates = committed.filter(({ read, written }) => read !== undefined && written.length > 0)
  for (const { key, read, transaction: { id } } of committed) {
    if (read === undefined) continue
    const { value } = read
    const writer = writers.get(value)
    const report = (name: string, text: string): void =>
      void anomalies.push({ name, text: `T${id} read ${value} of ${key}: ${text}` })
    if (writer === undefined) {
      if (value !== initial) {
        report("garbage", "nobody wrote it")
        continue
      }
      // What was there in the beginning comes before whatever was written.
      for (const other of committed) {
        if (other.written.length > 0) {
          graph.add("rw", id, other.transaction.id, `${value} of ${key} was the first`)
        }
      }
    } else {
      const { transaction, written } = writer
      if (transaction.status === "fail") report("G1a", `T${transaction.id}, which wrote it, was rolled back`)
      if (transaction.id !== id && written.at(-1) !== value) {
        report("G1b", `T${transaction.id} wrote ${written.at(-1)} after it`)
      }
      graph.add("wr", transaction.id, id, `${value} of ${key} was read`)
    }
    for (const next of updates) {
      if (next.read?.value !== value) continue
      const why = `${next.written.at(-1)} was written over ${value} of ${key}`
      graph.add("rw", id, next.transaction.id, why)
      if (writer !== undefined) graph.add("ww", writer.transaction.id, next.transaction.id, why)
    }
  }
  lostUpdates(updates, anomalies)
}

/** Two that read the same version, and both wrote. */
const lostUpdates = (updates: ReadonlyArray<Access>, anomalies: Array<Anomaly>): void => {
  const known = new Map<Value, number>()
  for (const { key, read, transaction: { id } } of updates) {
    const other = known.get(read?.value)
    if (other !== undefined) {
      anomalies.push({
        name: "lost update",
        text: `T${other} and T${id} read ${read?.value} of ${key}, and wrote it`
      })
    }
    known.set(read?.value, id)
  }
}

/** Whether accounts were always seen with one sum. */
export const checkBank = (
  looks: ReadonlyArray<{ readonly id: number; readonly balances: ReadonlyArray<number> }>,
  total: number
): ReadonlyArray<Anomaly> =>
  looks.flatMap(({ balances, id }) => {
    const sum = balances.reduce((a, b) => a + b, 0)
    return sum === total
      ? []
      : [{ name: "total", text: `T${id} saw ${balances}, which is ${sum} of ${total}` }]
  })
