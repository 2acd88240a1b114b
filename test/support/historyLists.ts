/**
 * Lists that are only appended to: a read of one shows every version before it, so their order is known.
 *
 * Method and names are Elle's list-append (Kingsbury and Alvaro, Elle, VLDB 2020, section 3). Beyond it, an element that
 * was committed and that nobody saw is taken to come after those that somebody saw, which is sound where nothing is ever
 * removed, and finds lost updates that nobody looked at again.
 */
import type { Anomaly, Observed } from "./historyGraph.ts"
import { Graph } from "./historyGraph.ts"

export type ListOp =
  | readonly ["append", key: string, element: string]
  | readonly ["r", key: string, elements: ReadonlyArray<string>]

type Lists = ReadonlyMap<string, ReadonlyArray<string>>

export interface Time {
  /** The order in time is kept by those that ended before. */
  readonly until: number
}

/** The first read of a list, if no own append came before it. */
interface Read {
  readonly transaction: Observed<ListOp>
  readonly elements: ReadonlyArray<string>
}

/** Stands for whoever wrote what was there before. */
const before = 0

class Writers {
  /** By key and element. */
  private readonly of = new Map<string, Observed<ListOp>>()
  /** Elements of one transaction, by transaction and key. */
  private readonly mine = new Map<string, Array<string>>()

  add(transaction: Observed<ListOp>, key: string, element: string): boolean {
    const name = `${key}/${element}`
    if (this.of.has(name)) return false
    this.of.set(name, transaction)
    const own = `${transaction.id}/${key}`
    this.mine.set(own, [...this.mine.get(own) ?? [], element])
    return true
  }

  get(key: string, element: string): Observed<ListOp> | undefined {
    return this.of.get(`${key}/${element}`)
  }

  elements(id: number, key: string): ReadonlyArray<string> {
    return this.mine.get(`${id}/${key}`) ?? []
  }
}

/** Every anomaly of some lists. Ids of transactions are above 0. */
export const checkLists = (
  observed: ReadonlyArray<Observed<ListOp>>,
  initial: Lists,
  time: Time
): ReadonlyArray<Anomaly> => {
  const anomalies: Array<Anomaly> = []
  const writers = new Writers()
  for (const transaction of observed) {
    for (const op of transaction.ops) {
      if (op[0] !== "append" || writers.add(transaction, op[1], op[2])) continue
      anomalies.push({ name: "unusable", text: `${op[2]} was appended to ${op[1]} twice` })
    }
  }
  const reads = new Map<string, Array<Read>>()
  for (const transaction of observed) {
    if (transaction.status !== "ok") continue
    for (const [key, elements] of external(transaction, anomalies)) {
      checkRead({ transaction, elements }, key, writers, initial.get(key) ?? [], anomalies)
      reads.set(key, [...reads.get(key) ?? [], { transaction, elements }])
    }
  }
  const graph = new Graph()
  for (const key of new Set([...reads.keys(), ...keysOf(observed)])) {
    connect(
      key,
      reads.get(key) ?? [],
      { observed, writers, initial: initial.get(key) ?? [] },
      graph,
      anomalies
    )
  }
  graph.addTime(observed, time.until)
  return [...anomalies, ...graph.cycles()]
}

const keysOf = (observed: ReadonlyArray<Observed<ListOp>>): ReadonlyArray<string> =>
  observed.flatMap(({ ops }) => ops.map(([, key]) => key))

/** What a transaction read of others, by key; a read that contradicts what it did before is an anomaly. */
const external = (
  { id, ops }: Observed<ListOp>,
  anomalies: Array<Anomaly>
): ReadonlyMap<string, ReadonlyArray<string>> => {
  const reads = new Map<string, ReadonlyArray<string>>()
  const own = new Map<string, Array<string>>()
  for (const [kind, key, what] of ops) {
    const appended = own.get(key) ?? []
    if (kind === "append") {
      own.set(key, [...appended, what])
      continue
    }
    const base = reads.get(key)
    const others = what.slice(0, what.length - appended.length)
    const suffix = what.slice(what.length - appended.length)
    if (!same(suffix, appended) || (base !== undefined && !same(others, base))) {
      anomalies.push({
        name: "internal",
        text: `T${id} read [${what}] of ${key}, against what it did itself`
      })
    }
    if (base === undefined) reads.set(key, others)
  }
  return reads
}

const same = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((element, index) => element === b[index])

const checkRead = (
  { elements, transaction }: Read,
  key: string,
  writers: Writers,
  initial: ReadonlyArray<string>,
  anomalies: Array<Anomaly>
): void => {
  const report = (name: string, text: string): void =>
    void anomalies.push({ name, text: `T${transaction.id} read [${elements}] of ${key}: ${text}` })
  if (new Set(elements).size < elements.length) report("duplicate elements", "one is there twice")
  for (const element of elements) {
    const writer = writers.get(key, element)
    if (writer === undefined && !initial.includes(element)) report("garbage", `nobody appended ${element}`)
    if (writer?.status === "fail") report("G1a", `T${writer.id}, which appended ${element}, was rolled back`)
  }
  const writer = writers.get(key, elements.at(-1) ?? "")
  if (writer === undefined || writer.id === transaction.id) return
  if (writers.elements(writer.id, key).at(-1) !== elements.at(-1)) {
    report("G1b", `${elements.at(-1)} is not the last that T${writer.id} appended`)
  }
}

interface Known {
  readonly observed: ReadonlyArray<Observed<ListOp>>
  readonly writers: Writers
  readonly initial: ReadonlyArray<string>
}

/** Adds the edges of one list. */
const connect = (
  key: string,
  reads: ReadonlyArray<Read>,
  { initial, observed, writers }: Known,
  graph: Graph,
  anomalies: Array<Anomaly>
): void => {
  const order = reads.reduce(
    (longest, { elements }) => elements.length > longest.length ? elements : longest,
    initial
  )
  const id = (element: string | undefined): number => writers.get(key, element ?? "")?.id ?? before
  // Elements that nobody saw, of transactions that were committed.
  const unseen = observed.flatMap(({ id, status }) =>
    status !== "ok"
      ? []
      : writers.elements(id, key).filter((element) => !order.includes(element)).map(() => id)
  )
  const follow = (from: number, kind: "ww" | "rw", length: number): void => {
    const next = order[length]
    if (next !== undefined) return graph.add(kind, from, id(next), `${next} was appended to ${key}`)
    for (const writer of unseen) graph.add(kind, from, writer, `appended to ${key} behind [${order}]`)
  }
  for (let length = 1; length <= order.length; length++) {
    const from = id(order[length - 1])
    if (from !== before) follow(from, "ww", length)
  }
  for (const { elements, transaction } of reads) {
    if (
      !same(elements, order.slice(0, elements.length)) || !same(initial, elements.slice(0, initial.length))
    ) {
      const text = `T${transaction.id} read [${elements}] of ${key}, somebody else [${order}]`
      anomalies.push({ name: "incompatible order", text })
      continue
    }
    const writer = id(elements.at(-1))
    if (writer !== before) graph.add("wr", writer, transaction.id, `[${elements}] of ${key} was read`)
    follow(transaction.id, "rw", elements.length)
  }
  lostUpdates(key, reads, writers, anomalies)
}

/** Two that read the same version, and both wrote. */
const lostUpdates = (
  key: string,
  reads: ReadonlyArray<Read>,
  writers: Writers,
  anomalies: Array<Anomaly>
): void => {
  const updates = new Map<string, number>()
  for (const { elements, transaction: { id } } of reads) {
    if (writers.elements(id, key).length === 0) continue
    const version = elements.join()
    const other = updates.get(version)
    if (other !== undefined) {
      anomalies.push({
        name: "lost update",
        text: `T${other} and T${id} read [${version}] of ${key}, and appended to it`
      })
    }
    updates.set(version, id)
  }
}
