/**
 * A range that is read row by row, in as small pieces as the engine gives, so that anything may happen in between.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Snapshot from "../../src/Snapshot.ts"
import type { Scan } from "../../src/Snapshot.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { bytes, sameRows, text } from "./oracle.ts"
import type { Row, Twin } from "./oracle.ts"
import type { Range } from "./storeModel.ts"

export class RangeReader {
  readonly rows: Array<Row> = []
  private readonly twin: Twin
  private readonly scan: Scan
  private chunk: ReadonlyArray<Row> = []
  ended = false

  constructor(twin: Twin, scan: Scan) {
    this.twin = twin
    this.scan = scan
  }

  static readonly open = (
    twin: Twin,
    { from = "", until, limit = Infinity, reverse }: Range = {}
  ): Effect.Effect<RangeReader, never, Snapshot.Snapshot> =>
    Snapshot.Snapshot.useSync((snapshot) =>
      new RangeReader(
        twin,
        snapshot.scan(twin.keyspace, {
          lower: bytes(from),
          upper: until === undefined ? undefined : bytes(until),
          order: reverse === true ? "descending" : "ascending",
          // Small chunks: the engine would otherwise be asked for all of it at once.
          expected: 3,
          limit,
          columns: "keys and values"
        })
      )
    )

  /** Reads `count` rows on; fewer at the end. */
  readonly next = (count: number): Effect.Effect<ReadonlyArray<Row>, StoreError> =>
    Effect.gen({ self: this }, function*() {
      const taken: Array<Row> = []
      while (taken.length < count && !this.ended) {
        if (this.chunk.length > 0) {
          taken.push(this.chunk[0] as Row)
          this.chunk = this.chunk.slice(1)
          continue
        }
        const exit = yield* Effect.exit(this.scan)
        if (Exit.isSuccess(exit)) {
          this.chunk = exit.value.map(({ key, value }) => [text(key), text(value)] as const)
        } else {
          const failure = Exit.findErrorOption(exit)
          if (failure._tag === "None") return yield* Effect.failCause(exit.cause as Cause.Cause<never>)
          if (!Cause.isDone(failure.value)) return yield* Effect.fail(failure.value)
          this.ended = true
        }
      }
      this.rows.push(...taken)
      return taken
    })

  /** Reads to the end; all of it must be a state of the past. */
  readonly rest = (what: string, expected: ReadonlyArray<Row>): Effect.Effect<void, StoreError> =>
    Effect.map(
      this.next(Infinity),
      () => sameRows(`${what} of ${this.twin.keyspace.name}`, this.rows, expected)
    )
}
