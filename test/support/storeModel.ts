/**
 * What a store should be: keyspaces as sorted arrays, transactions as functions from one state to the next.
 *
 * Keys and values are strings with one char per byte. States share what they have in common and never change, so that
 * every commit's state can be kept.
 */
import { Reducer } from "../../src/tree/page/Fold.ts"
import type { Random } from "./random.ts"
import { foldOf, valueFor } from "./reducers.ts"

export interface Row {
  readonly key: string
  readonly value: string
  /** LSN of the commit that wrote it; undefined where that is not known. */
  readonly lsn: number | undefined
  /** Milliseconds from which on it is hidden; absent where it stays. */
  readonly expiry?: number
}

/** Rows in the order of their keys, by keyspace; one that is absent has none. */
export type State = ReadonlyMap<string, ReadonlyArray<Row>>

export interface Range {
  readonly prefix?: string
  readonly from?: string
  readonly until?: string
  readonly reverse?: boolean
  readonly limit?: number
}

/** One thing that a transaction does. */
export type Step =
  | {
    readonly _tag: "put"
    readonly keyspace: string
    readonly key: string
    readonly value: string
    readonly expiry?: number
  }
  | { readonly _tag: "remove"; readonly keyspace: string; readonly key: string }
  | { readonly _tag: "merge"; readonly keyspace: string; readonly key: string; readonly operand: string }
  | { readonly _tag: "insert"; readonly keyspace: string; readonly key: string; readonly value: string }
  /** With the version that the record has, or with another one. */
  | {
    readonly _tag: "replace"
    readonly keyspace: string
    readonly key: string
    readonly value: string
    readonly expects: "right" | "wrong"
  }
  /** Appends to the value; a value that is there and longer than `limit` is removed. */
  | { readonly _tag: "modify"; readonly keyspace: string; readonly key: string; readonly tail: string }
  | { readonly _tag: "clear"; readonly keyspace: string }
  | { readonly _tag: "drop"; readonly keyspace: string }
  | { readonly _tag: "get"; readonly keyspace: string; readonly key: string }
  | { readonly _tag: "getMany"; readonly keyspace: string; readonly keys: ReadonlyArray<string> }
  | { readonly _tag: "first"; readonly keyspace: string; readonly range: Range }
  | { readonly _tag: "range"; readonly keyspace: string; readonly range: Range }
  | { readonly _tag: "savepoint"; readonly steps: ReadonlyArray<Step>; readonly fails: boolean }

/** What a step answered: rows that were seen, or a word. */
export type Result = ReadonlyArray<Row | undefined> | string

export interface Played {
  readonly state: State
  readonly results: ReadonlyArray<Result>
}

/** The keyspaces that have reducers. Values of `sums` are numbers of eight bytes. */
export const reducerOf = (keyspace: string): number =>
  keyspace === "sums" ? Reducer.sum : keyspace === "journal" ? Reducer.append : Reducer.none

/** What an operand makes of a value. */
export const merged = (keyspace: string, value: string | undefined, operand: string): string => {
  const [before, what] = [value, operand].map((text) => Buffer.from(text ?? "", "latin1")) as [Buffer, Buffer]
  const folded = foldOf(reducerOf(keyspace), value === undefined ? undefined : before, what)
  return Buffer.from(folded).toString("latin1")
}

/** Values that `modify` makes do not grow beyond this. */
export const modifiedBytes = 200

/** What `modify` makes of a value; undefined removes. */
export const modified = (value: string | undefined, tail: string): string | undefined =>
  value !== undefined && value.length > modifiedBytes ? undefined : (value ?? "") + tail

const none: ReadonlyArray<Row> = []

export const rowsOf = (state: State, keyspace: string): ReadonlyArray<Row> => state.get(keyspace) ?? none

/** The rows that are not hidden at a time. */
export const living = (rows: ReadonlyArray<Row>, now: number): ReadonlyArray<Row> =>
  now > -Infinity && rows.some(({ expiry = Infinity }) => expiry <= now)
    ? rows.filter(({ expiry = Infinity }) => expiry > now)
    : rows

/** What of a state is not hidden at a time. */
export const livingState = (state: State, now: number): State =>
  new Map([...state].map(([keyspace, rows]) => [keyspace, living(rows, now)]))

/** Index of the first row at or above a key. */
const lowerBound = (rows: ReadonlyArray<Row>, key: string): number => {
  let from = 0
  let until = rows.length
  while (from < until) {
    const middle = (from + until) >>> 1
    if ((rows[middle] as Row).key < key) from = middle + 1
    else until = middle
  }
  return from
}

export const find = (rows: ReadonlyArray<Row>, key: string): Row | undefined => {
  const row = rows[lowerBound(rows, key)]
  return row?.key === key ? row : undefined
}

/** A state that is being made of another: each keyspace is copied once, when it is first written. */
class Draft {
  state: State
  private readonly copies = new Map<string, Array<Row>>()

  constructor(state: State) {
    this.state = state
  }

  change(keyspace: string, key: string, value: string | undefined, expiry?: number): void {
    const known = this.copies.get(keyspace)
    const rows = known ?? [...rowsOf(this.state, keyspace)]
    if (known === undefined) {
      this.copies.set(keyspace, rows)
      this.state = new Map(this.state).set(keyspace, rows)
    }
    const index = lowerBound(rows, key)
    const timed = expiry === undefined ? {} : { expiry }
    const written = value === undefined ? [] : [{ key, value, lsn: undefined, ...timed }]
    rows.splice(index, rows[index]?.key === key ? 1 : 0, ...written)
  }

  /** Goes on from another state. */
  become(state: State): void {
    this.copies.clear()
    this.state = state
  }
}

export const inRange = (rows: ReadonlyArray<Row>, range: Range): ReadonlyArray<Row> => {
  const { from, limit, prefix, reverse, until } = range
  const found = rows.filter(({ key }) =>
    (prefix === undefined || key.startsWith(prefix)) && (from === undefined || key >= from)
    && (until === undefined || key < until)
  )
  return (reverse === true ? found.reverse() : found).slice(0, limit)
}

/** Plays steps at a time; the rows that they write have no LSN yet. */
export const play = (state: State, steps: ReadonlyArray<Step>, now = -Infinity): Played => {
  const results: Array<Result> = []
  const draft = new Draft(state)
  for (const step of steps) {
    if (step._tag === "savepoint") {
      const played = play(draft.state, step.steps, now)
      results.push(...played.results)
      if (!step.fails) draft.become(played.state)
      continue
    }
    const { keyspace } = step
    const rows = living(rowsOf(draft.state, keyspace), now)
    switch (step._tag) {
      case "put":
        draft.change(keyspace, step.key, step.value, step.expiry)
        break
      case "remove":
        draft.change(keyspace, step.key, undefined)
        break
      case "merge":
        draft.change(keyspace, step.key, merged(keyspace, find(rows, step.key)?.value, step.operand))
        break
      case "insert": {
        const absent = find(rows, step.key) === undefined
        results.push(absent ? "inserted" : "there")
        if (absent) draft.change(keyspace, step.key, step.value)
        break
      }
      case "replace":
        results.push(step.expects === "right" ? "replaced" : "mismatch")
        if (step.expects === "right") draft.change(keyspace, step.key, step.value)
        break
      case "modify": {
        const value = find(rows, step.key)?.value
        results.push(value ?? "absent")
        draft.change(keyspace, step.key, modified(value, step.tail))
        break
      }
      case "clear":
      case "drop":
        draft.become(new Map(draft.state).set(keyspace, none))
        break
      case "get":
        results.push([find(rows, step.key)])
        break
      case "getMany":
        results.push(step.keys.map((key) => {
          const row = find(rows, key)
          return row === undefined ? undefined : { ...row, lsn: undefined }
        }))
        break
      case "first":
        results.push(inRange(rows, { ...step.range, limit: 1 }))
        break
      case "range":
        results.push(inRange(rows, step.range))
        break
    }
  }
  return { state: draft.state, results }
}

/** The state with the LSN of the commit in every row that it wrote. */
export const stamped = (before: State, after: State, lsn: number | undefined): State => {
  const state = new Map(after)
  for (const [keyspace, rows] of after) {
    if (before.get(keyspace) === rows) continue
    const older = new Set(before.get(keyspace))
    state.set(keyspace, rows.map((row) => older.has(row) ? row : { ...row, lsn }))
  }
  return state
}

/** How an answer differs from what was expected; undefined where it does not. */
export const difference = (actual: Result | undefined, expected: Result | undefined): string | undefined => {
  if (typeof actual === "string" || typeof expected === "string" || !actual || !expected) {
    return actual === expected ? undefined : `${show(actual)} instead of ${show(expected)}`
  }
  const length = Math.max(actual.length, expected.length)
  for (let index = 0; index < length; index++) {
    const [a, e] = [actual[index], expected[index]]
    const same = a?.key === e?.key && a?.value === e?.value
      && (a?.lsn === undefined || e?.lsn === undefined || a.lsn === e.lsn)
    if (same && index < actual.length === index < expected.length) continue
    return `row ${index} of ${actual.length} is ${show([a])} instead of ${show([e])} of ${expected.length}`
  }
  return undefined
}

const show = (result: Result | undefined): string => {
  if (typeof result !== "object") return JSON.stringify(result)
  return result.map((row) =>
    row === undefined ? "nothing" : `${JSON.stringify(row.key)}: ${digest(row.value)} @${row.lsn}`
  ).join(", ")
}

const digest = (value: string): string => `${value.length} bytes ${JSON.stringify(value.slice(0, 12))}`

/** Throws where answers differ from what was expected. */
export const compare = (
  what: string,
  results: ReadonlyArray<Result>,
  expected: ReadonlyArray<Result>
): void => {
  for (let index = 0; index < Math.max(results.length, expected.length); index++) {
    const differs = difference(results[index], expected[index])
    if (differs !== undefined) throw new Error(`${what}, answer ${index}: ${differs}`)
  }
}

/** How two states differ in their rows; undefined where they do not. */
export const stateDifference = (actual: State, expected: State): string | undefined => {
  for (const keyspace of new Set([...actual.keys(), ...expected.keys()])) {
    const differs = difference(rowsOf(actual, keyspace), rowsOf(expected, keyspace))
    if (differs !== undefined) return `${keyspace}: ${differs}`
  }
  return undefined
}

export interface Chances {
  readonly keyspaces: ReadonlyArray<string>
  readonly keyBytes: number
  /** Most bytes of a value, beyond the longest that is kept inline. */
  readonly valueBytes: number
}

/** Draws keys, values and steps. Keys come back often, share prefixes, and are as short and long as they may be. */
export class Draw {
  readonly chance: Random
  private readonly options: Chances
  private readonly known: Array<string> = [""]
  private readonly stems: ReadonlyArray<string>

  constructor(chance: Random, options: Chances) {
    this.chance = chance
    this.options = options
    this.stems = ["", "a", "user/", "user/0001/", "\0", "\xff\xff", "p".repeat(options.keyBytes - 4)]
  }

  keyspace(): string {
    return this.chance.pick(this.options.keyspaces)
  }

  key(): string {
    const { chance, known } = this
    if (chance.bool(0.6)) return chance.pick(known)
    const stem = chance.bool(0.2) ? chance.pick(known) : chance.pick(this.stems)
    const longest = this.options.keyBytes - stem.length
    const length = chance.bool(0.1) ? longest : Math.min(longest, chance.int(6))
    const alphabet = chance.bool(0.5) ? 256 : 3
    let key = stem
    for (let index = 0; index < length; index++) key += String.fromCharCode(chance.int(alphabet) + 97 & 255)
    if (known.length < 400) known.push(key)
    else known[chance.int(known.length)] = key
    return key
  }

  value(keyspace: string): string {
    const { chance } = this
    if (keyspace === "sums") return Buffer.from(valueFor(Reducer.sum, chance, 8)).toString("latin1")
    const most = chance.bool(0.15) ? this.options.valueBytes : chance.bool(0.5) ? 60 : 8
    return String.fromCharCode(97 + chance.int(26)).repeat(chance.int(most + 1))
  }

  range(): Range {
    const { chance } = this
    const [a, b] = [this.key(), this.key()]
    return {
      ...(chance.bool(0.3) ? { prefix: this.key().slice(0, chance.int(7)) } : {}),
      ...(chance.bool(0.4) ? { from: a < b || chance.bool(0.1) ? a : b } : {}),
      ...(chance.bool(0.4) ? { until: a < b ? b : a } : {}),
      ...(chance.bool(0.5) ? { reverse: chance.bool(0.8) } : {}),
      ...(chance.bool(0.3) ? { limit: chance.int(20) } : {})
    }
  }

  look(): Step {
    const { chance } = this
    const keyspace = this.keyspace()
    const kind = chance.next()
    if (kind < 0.35) return { _tag: "get", keyspace, key: this.key() }
    if (kind < 0.5) {
      return { _tag: "getMany", keyspace, keys: Array.from({ length: chance.int(6) }, () => this.key()) }
    }
    return { _tag: kind < 0.65 ? "first" : "range", keyspace, range: this.range() }
  }

  step(depth: number): Step {
    const { chance } = this
    const keyspace = this.keyspace()
    const kind = chance.next()
    if (kind < 0.3 && reducerOf(keyspace) !== 0) {
      return { _tag: "merge", keyspace, key: this.key(), operand: this.value(keyspace).slice(0, 40) }
    }
    if (kind < 0.42) return { _tag: "put", keyspace, key: this.key(), value: this.value(keyspace) }
    if (kind < 0.62) return { _tag: "remove", keyspace, key: this.key() }
    if (kind < 0.67) return { _tag: "insert", keyspace, key: this.key(), value: this.value(keyspace) }
    if (kind < 0.72) {
      const expects = chance.bool(0.8) ? "right" : "wrong"
      return { _tag: "replace", keyspace, key: this.key(), value: this.value(keyspace), expects }
    }
    if (kind < 0.78 && keyspace !== "sums") {
      return { _tag: "modify", keyspace, key: this.key(), tail: this.value(keyspace).slice(0, 40) }
    }
    if (kind < 0.79) return { _tag: "clear", keyspace }
    if (kind < 0.795) return { _tag: "drop", keyspace }
    if (kind < 0.85 && depth < 2) {
      return { _tag: "savepoint", steps: this.steps(3, depth + 1), fails: chance.bool(0.5) }
    }
    return this.look()
  }

  steps(most: number, depth = 0): ReadonlyArray<Step> {
    return Array.from({ length: 1 + this.chance.int(most) }, () => this.step(depth))
  }

  /** Writes that do not look, of ascending keys: what fills leaves to the brim and splits them at their end. */
  load(count: number): ReadonlyArray<Step> {
    const keyspace = this.keyspace()
    const stem = this.key().slice(0, 8)
    return Array.from({ length: count }, (_, index): Step => {
      const key = `${stem}${String(index).padStart(4, "0")}`
      if (this.chance.bool(0.05)) this.known.push(key)
      return keyspace === "sums" && this.chance.bool(0.5)
        ? { _tag: "merge", keyspace, key, operand: this.value(keyspace).slice(0, 40) }
        : { _tag: "put", keyspace, key, value: this.value(keyspace) }
    })
  }
}
