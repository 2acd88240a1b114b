/**
 * Sessions: every serial is committed exactly once and in its order, over all lives, and whoever comes back is told
 * how far it had come.
 */
import type { History, Life } from "./history.ts"
import type { Anomaly } from "./historyGraph.ts"
import { commitsOf } from "./historyReplay.ts"

/** LSNs of what each session has committed, by serial less one. */
type Committed = Map<string, ReadonlyArray<number>>

/** Every anomaly of the sessions of a history; of each life only the first `kept` commits are there afterwards. */
export const checkSessions = (history: History, kept: ReadonlyArray<number>): ReadonlyArray<Anomaly> => {
  const anomalies: Array<Anomaly> = []
  let committed: Committed = new Map()
  history.forEach((life, index) => {
    for (const { name, serial } of life.sessions) {
      const expected = committed.get(name)?.length ?? 0
      if (serial === expected) continue
      anomalies.push({
        name: "wrong serial",
        text: `${name} was told ${serial}, and had come to ${expected}`
      })
    }
    repeats(life, after(life, committed, Infinity, anomalies), anomalies)
    committed = after(life, committed, kept[index] ?? 0, [])
  })
  return anomalies
}

/** What is committed after the first so many commits of a life. */
const after = (life: Life, before: Committed, count: number, anomalies: Array<Anomaly>): Committed => {
  const committed = new Map(before)
  for (const { lsn, transaction: { session } } of commitsOf(life).slice(0, count)) {
    if (session === undefined) continue
    const { name, serial } = session
    const lsns = committed.get(name) ?? []
    if (serial === lsns.length + 1) {
      committed.set(name, [...lsns, lsn])
      continue
    }
    const what = serial <= lsns.length ? "serial accepted twice" : "serial left out"
    anomalies.push({ name: what, text: `${serial} of ${name} was committed at ${lsn}, after ${lsns.length}` })
  }
  return committed
}

/** Whoever was told that a serial is committed was told the truth. */
const repeats = ({ transactions }: Life, committed: Committed, anomalies: Array<Anomaly>): void => {
  for (const { id, outcome, session } of transactions) {
    if (outcome._tag !== "repeated" || session === undefined) continue
    const lsn = committed.get(session.name)?.[session.serial - 1]
    if (lsn !== undefined && (outcome.lsn === undefined || outcome.lsn === lsn)) continue
    const text =
      `T${id} was told that ${session.serial} of ${session.name} is at ${outcome.lsn}, not at ${lsn}`
    anomalies.push({ name: "wrong repeat", text })
  }
}
