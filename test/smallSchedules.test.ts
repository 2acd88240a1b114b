/**
 * Small schedules, all of them: three transactions of two operations each on two keys, begun and committed in every
 * order. Each commits in a place where it saw exactly what was there, or it loses; and it loses only if it has to.
 *
 * What lies between the begin of a transaction and its commit are the begins and commits of others: nothing else is
 * seen by anybody. So the orders of these are all schedules. The first operation runs right after the begin and the
 * second right before the commit. Programs that are the same but for the names of transactions or keys count as one.
 *
 * `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Keyspace from "../src/Keyspace.ts"
import type * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { Conflict, StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { figure } from "./support/figures.ts"

const records = Keyspace.bytes("records")

/** `r0` reads the first key, `w1` writes the second one. */
type Op = "r0" | "r1" | "w0" | "w1"
type Program = readonly [Op, Op]

const ops: ReadonlyArray<Op> = ["r0", "r1", "w0", "w1"]
const programs: ReadonlyArray<Program> = ops.flatMap((first) => ops.map((second): Program => [first, second]))
const keys = ["x", "y"].map((key) => Buffer.from(key))
const keyOf = (op: Op): 0 | 1 => op[1] === "0" ? 0 : 1
const swapped = ([first, second]: Program): Program => {
  const swap = (op: Op): Op => `${op[0] as "r" | "w"}${keyOf(op) === 0 ? 1 : 0}`
  return [swap(first), swap(second)]
}

/** Three programs, one of all that differ in names only. */
const triples = (): ReadonlyArray<ReadonlyArray<Program>> => {
  const named = (triple: ReadonlyArray<Program>): string =>
    triple.map((program) => program.join("")).sort().join()
  const seen = new Set<string>()
  const all: Array<ReadonlyArray<Program>> = []
  for (const a of programs) {
    for (const b of programs) {
      for (const c of programs) {
        const triple = [a, b, c]
        if (seen.has(named(triple)) || seen.has(named(triple.map(swapped)))) continue
        seen.add(named(triple))
        all.push(triple)
      }
    }
  }
  return all
}

/** All orders of two steps each of three transactions. */
const interleavings = (
  left = [2, 2, 2],
  begun: ReadonlyArray<number> = []
): ReadonlyArray<ReadonlyArray<number>> =>
  begun.length === 6
    ? [begun]
    : [0, 1, 2].flatMap((transaction) =>
      (left[transaction] as number) === 0
        ? []
        : interleavings(left.map((count, index) => index === transaction ? count - 1 : count), [
          ...begun,
          transaction
        ])
    )

/** A transaction that runs, and what it has seen. */
interface Running {
  readonly program: Program
  readonly value: string
  readonly fiber: Fiber.Fiber<void, StoreError | Conflict>
  /** Lets it go on to its second operation and its commit. */
  readonly go: () => void
  /** What its reads of the store answered, by key. */
  readonly seen: Array<readonly [key: number, value: string]>
  /** What was there when it began. */
  readonly before: ReadonlyArray<string>
  /** Keys that were written by others since. */
  readonly missed: Set<number>
}

const counts = { schedules: 0, commits: 0, conflicts: 0 }

class Schedules {
  private readonly state = ["", ""]
  private values = 0

  readonly begin = (program: Program): Effect.Effect<Running, never, Store.Store> =>
    Effect.gen({ self: this }, function*() {
      const value = `v${++this.values}`
      const before = [...this.state]
      const seen: Running["seen"] = []
      const wrote = new Set<number>()
      let go = (): void => {}
      const gate = Effect.callback<void>((resume) => {
        go = () => resume(Effect.void)
      })
      const run = (op: Op): Effect.Effect<void, StoreError, Tx.Tx | Snapshot.Snapshot> =>
        Effect.suspend((): Effect.Effect<void, StoreError, Tx.Tx | Snapshot.Snapshot> => {
          const key = keyOf(op)
          if (op[0] === "w") {
            wrote.add(key)
            return records.put(keys[key] as Buffer, Buffer.from(value))
          }
          return Effect.map(records.get(keys[key] as Buffer), (found) => {
            const text = Option.match(found, {
              onNone: () => "",
              onSome: (bytes) => Buffer.from(bytes).toString()
            })
            if (wrote.has(key)) assert.strictEqual(text, value, "its own write")
            else seen.push([key, text])
          })
        })
      const body = Effect.andThen(
        run(program[0]),
        Effect.andThen(gate, Effect.suspend(() => run(program[1])))
      )
      const fiber = yield* Effect.forkChild(Tx.transact({ durability: "memory", attempts: 1 })(body), {
        startImmediately: true
      })
      return { program, value, fiber, go: () => go(), seen, before, missed: new Set<number>() }
    })

  /** Carries out a schedule. */
  readonly run = (
    triple: ReadonlyArray<Program>,
    order: ReadonlyArray<number>
  ): Effect.Effect<void, never, Store.Store> =>
    Effect.gen({ self: this }, function*() {
      const running = new Map<number, Running>()
      counts.schedules++
      for (const index of order) {
        const known = running.get(index)
        if (known === undefined) {
          running.set(index, yield* this.begin(triple[index] as Program))
          continue
        }
        known.go()
        running.delete(index)
        const exit = yield* Fiber.await(known.fiber)
        this.judge(known, exit, [...running.values()], `${triple.join(" | ")} in order ${order.join()}`)
      }
    })

  private judge(
    { before, missed, program, seen, value }: Running,
    exit: Exit.Exit<void, unknown>,
    others: ReadonlyArray<Running>,
    story: string
  ): void {
    for (const [key, text] of seen) assert.strictEqual(text, before[key], story)
    const written = program.filter((op) => op[0] === "w").map(keyOf)
    // Who only reads has its place where it began: what others have written since is behind it.
    const loses = written.length > 0 && seen.some(([key]) => missed.has(key))
    if (exit._tag === "Failure") {
      assert.isTrue(String(exit.cause).includes("Conflict"), `${story}: ${exit.cause}`)
      assert.isTrue(loses, `${story}: it lost for nothing`)
      counts.conflicts++
      return
    }
    assert.isFalse(loses, `${story}: it had to lose`)
    counts.commits++
    for (const key of written) {
      this.state[key] = value
      for (const other of others) other.missed.add(key)
    }
  }
}

describe("small schedules", () => {
  it.live("are serializable, or somebody loses who has to", () =>
    Effect.gen(function*() {
      const schedules = new Schedules()
      const orders = interleavings()
      for (const triple of triples()) {
        for (const order of orders) yield* schedules.run(triple, order)
      }
      figure("M2 small schedules", counts)
      assert.strictEqual(orders.length, 90)
      assert.isAbove(counts.conflicts, 5_000)
    }).pipe(Effect.provide(Store.layerMemory)), 120_000)
})
