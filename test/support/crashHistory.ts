/**
 * What a store may hold after a crash: the commits of its lives in order, and how much of them was promised when.
 *
 * A chapter is one life of a store: the state that it was opened with, and one more for each commit that was handed to
 * its log, in that order. Every transaction puts its own name under one key, so that a state that is found names the
 * commit it ends with, and only that one is compared.
 *
 * I1 States are kept in the order in which their commits were handed over, which is the order of their LSNs.
 */
import type { State, Step } from "./storeModel.ts"
import { play, rowsOf, stamped } from "./storeModel.ts"

/** The keyspaces of a crash test. The record that names the last commit is in the first one. */
export const keyspaces = ["one", "two", "sums"]
const nameKey = "~name"

/** The step by which a transaction leaves its name. */
export const signed = (name: number): Step => ({
  _tag: "put",
  keyspace: "one",
  key: nameKey,
  value: String(name)
})

const signatureOf = (state: State): string =>
  rowsOf(state, "one").find(({ key }) => key === nameKey)?.value ?? ""

/** What may be found if the power goes now. */
export interface Bounds {
  readonly chapter: Chapter
  /** Index of the first state that may be found, and of the last. */
  readonly from: number
  readonly until: number
  /** Index of the newest that was handed to the system: not to be found after a power cut, but always after a kill. */
  readonly handed: number
  /** What the store itself calls durable: every commit below is to be found. */
  readonly durableLsn: number
}

export class Chapter {
  readonly states: Array<State>
  /** Of the commits that made them, where they are known; 0 for the first state, which no commit of this life made. */
  readonly lsns: Array<number | undefined> = [0]
  /** Index of the newest state that was acknowledged as synced, and of the newest that was handed to the system. */
  synced = 0
  handed = 0
  private readonly bySignature: Map<string, number>

  constructor(first: State) {
    this.states = [first]
    this.bySignature = new Map([[signatureOf(first), 0]])
  }

  get last(): number {
    return this.states.length - 1
  }

  get state(): State {
    return this.states[this.last] as State
  }

  /** A commit was handed to the log; answers the index of its state. Its rows have its index, negative, for an LSN. */
  submit(steps: ReadonlyArray<Step>): number {
    const { last, state } = this
    const after = stamped(state, play(state, steps).state, -(last + 1))
    this.states.push(after)
    this.lsns.push(undefined)
    this.bySignature.set(signatureOf(after), last + 1)
    return last + 1
  }

  acknowledge(index: number, lsn: number, durability: "memory" | "buffered" | "synced"): void {
    this.lsns[index] = lsn
    if (durability === "memory") return
    this.handed = Math.max(this.handed, index)
    if (durability === "synced") this.synced = Math.max(this.synced, index)
  }

  /** What a power cut may leave now, and what the death of the process may. */
  bounds(durableLsn: number): { readonly power: Bounds; readonly kill: Bounds } {
    const { handed, last: until, synced: from } = this
    const power = { chapter: this, from, until, handed, durableLsn }
    return { power, kill: { ...power, from: handed } }
  }

  /** Index of a state that was found; undefined where no commit ends with it. */
  indexOf(found: State): number | undefined {
    return this.bySignature.get(signatureOf(found))
  }

  /** How a state that was found differs from one of this chapter; undefined where it does not. */
  difference(found: State, index: number): string | undefined {
    const expected = this.states[index] as State
    for (const keyspace of new Set([...found.keys(), ...expected.keys()])) {
      const [is, should] = [rowsOf(found, keyspace), rowsOf(expected, keyspace)]
      for (let row = 0; row < Math.max(is.length, should.length); row++) {
        const [a, e] = [is[row], should[row]]
        const lsn = e?.lsn !== undefined && e.lsn < 0 ? this.lsns[-e.lsn] : e?.lsn
        if (a?.key === e?.key && a?.value === e?.value && (lsn === undefined || lsn === a?.lsn)) continue
        const show = (each: typeof a) => each === undefined ? "nothing" : JSON.stringify(each).slice(0, 120)
        return `${keyspace}: row ${row} is ${show(a)} instead of ${show(e)} of the commit at ${lsn}`
      }
    }
    return undefined
  }
}

/** Why a state may not be found within these bounds; undefined where it may. */
export const wrongIn = ({ chapter, durableLsn, from, until }: Bounds, found: State): string | undefined => {
  const index = chapter.indexOf(found)
  if (index === undefined) return "a state that no commit ended with"
  if (index < from) return `commit ${index} is the last, but ${from} was acknowledged`
  if (index > until) return `commit ${index} is the last, but ${until} was the last handed over`
  // LSNs only grow: of what is durable, the newest says it all.
  for (let later = chapter.last; later > index; later--) {
    const lsn = chapter.lsns[later]
    if (lsn !== undefined && lsn < durableLsn && later <= until) {
      return `commit ${index} is the last, but ${later} at ${lsn} was durable up to ${durableLsn}`
    }
  }
  return chapter.difference(found, index)
}
