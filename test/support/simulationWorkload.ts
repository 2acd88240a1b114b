/**
 * What the fibers of a simulation do beside what those of a history do: everything that a store has to offer at once.
 *
 * | keyspace   | its records                                                                      |
 * |------------|----------------------------------------------------------------------------------|
 * | `fleeting` | expire after some milliseconds                                                   |
 * | `marked`   | have an index                                                                    |
 * | `two`      | values now and then so large that they live in the log, and so many at once that |
 * |            | their transaction is written as pieces                                           |
 */
import type { Move } from "./historyWorkload.ts"
import { keyspaces, Workload } from "./historyWorkload.ts"

export const allKeyspaces = [...keyspaces, "fleeting", "marked"] as const

export class WholeWorkload extends Workload {
  override moves(): ReadonlyArray<Move> {
    const moves = super.moves()
    if (!this.chance.bool(0.12)) return moves
    return [...Array.from({ length: 6 + this.chance.int(8) }, () => this.putLarge()), ...moves]
  }

  protected override look(): Move {
    const { chance } = this
    const kind = chance.next()
    if (kind < 0.15) return { _tag: "marks" }
    if (kind < 0.25) return { _tag: "step", step: { _tag: "get", keyspace: "fleeting", key: this.brief() } }
    return kind < 0.35
      ? { _tag: "step", step: { _tag: "range", keyspace: "fleeting", range: {} } }
      : super.look()
  }

  protected override write(): Move {
    const { chance } = this
    const kind = chance.next()
    if (kind < 0.12) {
      return { _tag: "mark", key: `m${chance.int(6)}`, value: chance.bool(0.3) ? undefined : this.value() }
    }
    if (kind < 0.24) {
      return { _tag: "fleeting", key: this.brief(), value: this.value(), ttl: 1 + chance.int(40) }
    }
    if (kind < 0.3) {
      const [keyspace, key, value] = ["fleeting", this.brief(), this.value()]
      return {
        _tag: "step",
        step: chance.bool(0.5)
          ? { _tag: "insert", keyspace, key, value }
          : { _tag: "remove", keyspace, key }
      }
    }
    return kind < 0.38 ? this.putLarge() : super.write()
  }

  private brief(): string {
    return `f${this.chance.int(5)}`
  }

  private putLarge(): Move {
    const value = this.value().padEnd(100 + this.chance.int(400), "-")
    return { _tag: "step", step: { _tag: "put", keyspace: "two", key: this.rangeKey(), value } }
  }
}
