/**
 * What the fibers of a history do: small transactions over few keys, drawn from a seed.
 *
 * | keyspace  | its records                                                             |
 * |-----------|-------------------------------------------------------------------------|
 * | `one`     | registers: every value is written once                                  |
 * | `two`     | keys that come and go, for ranges                                       |
 * | `journal` | lists of elements of four characters, each appended once                |
 * | `sums`    | counters that operands are added to                                     |
 * | `bank`    | accounts: their sum never changes                                       |
 */
import type { Random } from "./random.ts"
import type { Range, Step } from "./storeModel.ts"

export const keyspaces = ["one", "two", "journal", "sums", "bank"] as const

export const elementBytes = 4
export const accounts = ["a", "b", "c", "d"] as const
export const bankTotal = 400

/** One thing that a body does; what it writes may follow from what it reads. */
export type Move =
  | { readonly _tag: "step"; readonly step: Step }
  /** Reads a list, and puts it with one element more. */
  | { readonly _tag: "append"; readonly key: string; readonly element: string }
  | { readonly _tag: "transfer"; readonly from: string; readonly to: string; readonly amount: number }
  | { readonly _tag: "pause" }
  | { readonly _tag: "savepoint"; readonly moves: ReadonlyArray<Move>; readonly fails: boolean }
  /** A record that expires so many milliseconds after its transaction began. */
  | { readonly _tag: "fleeting"; readonly key: string; readonly value: string; readonly ttl: number }
  /** Puts a record of a keyspace with an index, or removes it. */
  | { readonly _tag: "mark"; readonly key: string; readonly value: string | undefined }
  /** Reads all records of that keyspace, once by their keys and once by the index. */
  | { readonly _tag: "marks" }
  /** The first moves are given up for the others. */
  | { readonly _tag: "orElse"; readonly moves: ReadonlyArray<Move>; readonly others: ReadonlyArray<Move> }
  | { readonly _tag: "fail" }
  | { readonly _tag: "die" }

/** What the transactions of a schedule are mostly about, so that they meet. */
export type Theme = typeof keyspaces[number]

const eightBytes = (value: number): string => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(BigInt(value))
  return bytes.toString("latin1")
}

export class Workload {
  protected readonly chance: Random
  private readonly themes: ReadonlyArray<Theme>
  private written = 0

  constructor(chance: Random) {
    this.chance = chance
    const themes = keyspaces.filter(() => chance.bool(0.4))
    this.themes = themes.length === 0 ? [chance.pick(keyspaces)] : themes
  }

  /** What there is before anybody begins; `filler` records beside it are too many for a small memory. */
  start(filler: number): ReadonlyArray<Move> {
    const records = Array.from({ length: 4 }, (_, index) => put("two", this.rangeKey(), `s${index}`))
    const fillers = Array.from(
      { length: filler },
      (_, index) => put("two", `z${String(index).padStart(3, "0")}`, "z".repeat(200))
    )
    const balances = accounts.map((key) => put("bank", key, String(bankTotal / accounts.length)))
    return [...balances, ...records, ...fillers]
  }

  /** The body of a transaction that may write. */
  moves(): ReadonlyArray<Move> {
    const { chance } = this
    const moves = this.some(1 + chance.int(4), 0)
    if (chance.bool(0.06)) moves.push({ _tag: "fail" })
    else if (chance.bool(0.02)) moves.push({ _tag: "die" })
    return moves
  }

  /** One that leaves something behind in any case, if it commits. */
  signed(): ReadonlyArray<Move> {
    return [put("one", this.register(), this.value()), ...this.moves()]
  }

  /** One that only looks. */
  looks(): ReadonlyArray<Move> {
    return this.paused(Array.from({ length: 1 + this.chance.int(3) }, (): Move => this.look()))
  }

  /** A write through the raw door. */
  raw(): { readonly keyspace: "one" | "two"; readonly key: string; readonly value: string } {
    return this.chance.bool(0.5)
      ? { keyspace: "one", key: this.register(), value: this.value() }
      : { keyspace: "two", key: this.rangeKey(), value: this.value() }
  }

  private some(count: number, depth: number): Array<Move> {
    return this.paused(
      Array.from({ length: count }, (): ReadonlyArray<Move> => {
        const kind = this.chance.next()
        if (kind < 0.1 && depth < 2) {
          return [{
            _tag: "savepoint",
            moves: this.some(1 + this.chance.int(2), depth + 1),
            fails: this.chance.bool(0.5)
          }]
        }
        if (kind < 0.13 && depth < 2) {
          const [moves, others] = [this.some(1, depth + 1), this.some(1, depth + 1)]
          return [{ _tag: "orElse", moves, others }]
        }
        return [kind < 0.37 ? this.look() : this.write()]
      }).flat()
    )
  }

  private paused(moves: ReadonlyArray<Move>): Array<Move> {
    return moves.flatMap((move): ReadonlyArray<Move> =>
      this.chance.bool(0.3) ? [{ _tag: "pause" }, move] : [move]
    )
  }

  protected look(): Move {
    switch (this.chance.pick(this.themes)) {
      case "one":
        return this.chance.bool(0.7)
          ? get("one", this.register())
          : step({ _tag: "getMany", keyspace: "one", keys: ["x", "y", "w"] })
      case "two": {
        const kind = this.chance.bool(0.2) ? "first" : "range"
        return step({ _tag: kind, keyspace: "two", range: this.range() })
      }
      case "journal":
        return get("journal", this.list())
      case "sums":
        return get("sums", this.register())
      case "bank":
        return this.chance.bool(0.5)
          ? step({ _tag: "getMany", keyspace: "bank", keys: accounts })
          : step({ _tag: "range", keyspace: "bank", range: {} })
    }
  }

  protected write(): Move {
    const { chance } = this
    switch (chance.pick(this.themes)) {
      case "one":
        return this.writeRegister()
      case "two":
        return this.writeRange()
      case "journal": {
        const key = this.list()
        const element = this.value()
        return chance.pick<() => Move>([
          () => ({ _tag: "append", key, element }),
          () => step({ _tag: "merge", keyspace: "journal", key, operand: element }),
          () => step({ _tag: "modify", keyspace: "journal", key, tail: element })
        ])()
      }
      case "sums":
        return step({
          _tag: "merge",
          keyspace: "sums",
          key: this.register(),
          operand: eightBytes(chance.int(20) - 10)
        })
      case "bank": {
        const from = chance.int(accounts.length)
        const to = (from + 1 + chance.int(accounts.length - 1)) % accounts.length
        const amount = 1 + chance.int(60)
        return { _tag: "transfer", from: accounts[from] as string, to: accounts[to] as string, amount }
      }
    }
  }

  private writeRegister(): Move {
    const { chance } = this
    const key = this.register()
    const value = this.value()
    return chance.pick<() => Move>([
      () => put("one", key, value),
      () => put("one", key, value),
      () => step({ _tag: "insert", keyspace: "one", key, value }),
      () =>
        step({ _tag: "replace", keyspace: "one", key, value, expects: chance.bool(0.9) ? "right" : "wrong" }),
      () => step({ _tag: "modify", keyspace: "one", key, tail: value })
    ])()
  }

  private writeRange(): Move {
    const { chance } = this
    const key = this.rangeKey()
    const kind = chance.next()
    if (kind < 0.4) return step({ _tag: "insert", keyspace: "two", key, value: this.value() })
    if (kind < 0.65) return put("two", key, this.value())
    if (kind < 0.98) return step({ _tag: "remove", keyspace: "two", key })
    return step({ _tag: "clear", keyspace: "two" })
  }

  private register(): string {
    return this.chance.pick(["x", "y", "w"])
  }

  private list(): string {
    return this.chance.pick(["l", "m"])
  }

  protected rangeKey(): string {
    return `k${this.chance.int(10)}`
  }

  /** A value, or an element of a list, that nothing else is. */
  protected value(): string {
    return (++this.written).toString(36).padStart(elementBytes, "0")
  }

  private range(): Range {
    const { chance } = this
    const [a, b] = [this.rangeKey(), this.rangeKey()]
    return {
      ...(chance.bool(0.2) ? { prefix: "k" } : {}),
      ...(chance.bool(0.5) ? { from: a < b ? a : b } : {}),
      ...(chance.bool(0.5) ? { until: a < b ? b : a } : {}),
      ...(chance.bool(0.4) ? { reverse: true } : {}),
      ...(chance.bool(0.5) ? { limit: 1 + chance.int(3) } : {})
    }
  }
}

const step = (step: Step): Move => ({ _tag: "step", step })
const get = (keyspace: string, key: string): Move => step({ _tag: "get", keyspace, key })
const put = (keyspace: string, key: string, value: string): Move =>
  step({ _tag: "put", keyspace, key, value })
