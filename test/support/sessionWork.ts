/**
 * Sessions at work beside each other: serials are sent in any order, again and again, fail and are interrupted, and what
 * each of them does must be there exactly once, in order.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import type { Durability } from "../../src/Limits.ts"
import * as Session from "../../src/Session.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import type * as Store from "../../src/Store.ts"
import { SerialGap, StoreError } from "../../src/StoreError.ts"
import type { SessionInUse } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Random } from "./random.ts"

/** What each session has done, as the list of its serials, and how much all of them have. */
const Done = Keyspace.make("done", { key: Key.String, value: Schema.Array(Schema.Int) })
const Totals = Keyspace.make("totals", { key: Key.String, value: Schema.Int })

export const names = ["ada", "grace", "edsger"]

export const counts = { commits: 0, repeats: 0, gaps: 0, failures: 0, interrupts: 0, reruns: 0, lost: 0 }

type Fate = "commits" | "fails" | "dies" | "is interrupted"

/** What is known of one session. */
export interface Known {
  /** No serial above has ever been sent. */
  sent: number
  /** Up to here a commit was acknowledged as synced. */
  acknowledged: number
  /** Serials whose bodies were told that they committed, in this life. */
  readonly committed: Set<number>
}

export const known = (): Map<string, Known> =>
  new Map(names.map((name) => [name, { sent: 0, acknowledged: 0, committed: new Set() }]))

/** What must be there may not be less than was acknowledged, nor more than was sent. */
export const acknowledged = (known: ReadonlyMap<string, Known>): ReadonlyMap<string, Known> =>
  new Map([...known].map(([name, one]) => [name, { ...one, committed: new Set() }]))

class Work {
  private readonly known: ReadonlyMap<string, Known>
  private readonly chance: Random

  constructor(known: ReadonlyMap<string, Known>, chance: Random) {
    this.known = known
    this.chance = chance
  }

  private body(name: string, serial: number, fate: Fate) {
    const { chance } = this
    let runs = 0
    return Effect.gen(function*() {
      if (++runs > 1) counts.reruns++
      const list = Option.getOrElse(yield* Done.get(name), () => [])
      assert.strictEqual(list.length, serial - 1, `${name} ${serial}: the one before is visible`)
      yield* Done.put(name, [...list, serial])
      if (chance.bool(0.3)) yield* Effect.yieldNow
      if (chance.bool(0.7)) {
        yield* Totals.modify("all", (total) => [undefined, Option.some(Option.getOrElse(total, () => 0) + 1)])
      } else {
        yield* Totals.modify(name, (total) => [undefined, Option.some(Option.getOrElse(total, () => 0) + 1)])
      }
      if (chance.bool(0.3)) yield* Effect.yieldNow
      if (fate === "fails") return yield* Effect.fail("refused" as const)
      if (fate === "dies") return yield* Effect.die("died")
    })
  }

  /** Sends a serial once; fails only with what the disk made of it. */
  private send(session: Session.Session, serial: number): Effect.Effect<void, StoreError, Store.Store> {
    const { chance } = this
    const { name } = session
    const fate = chance.pick<Fate>([
      "commits",
      "commits",
      "commits",
      "commits",
      "fails",
      "dies",
      "is interrupted"
    ])
    const durability = chance.pick<Durability>(["synced", "synced", "buffered", "memory"])
    const one = this.known.get(name) as Known
    return Effect.gen({ self: this }, function*() {
      one.sent = Math.max(one.sent, serial)
      const sent = Tx.once({ session, serial, durability })(this.body(name, serial, fate))
      const fiber = yield* Effect.forkChild(sent)
      for (let turn = chance.int(6); turn > 0; turn--) yield* Effect.yieldNow
      if (fate === "is interrupted") yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      if (Exit.isSuccess(exit)) return this.outcome(one, session, serial, durability, exit.value)
      const failure = Option.getOrUndefined(Exit.findErrorOption(exit))
      if (failure instanceof StoreError) return yield* Effect.fail(failure)
      if (failure instanceof SerialGap) {
        counts.gaps++
        assert.isBelow(failure.expected, serial)
      } else if (failure === "refused" || fate === "dies") counts.failures++
      else if (fate === "is interrupted") counts.interrupts++
      else throw new Error("neither committed nor refused", { cause: exit.cause })
    })
  }

  private outcome(
    one: Known,
    session: Session.Session,
    serial: number,
    durability: Durability,
    outcome: Tx.Outcome<void>
  ): void {
    assert.isAtMost(serial, session.serial)
    if (outcome._tag === "Committed") {
      counts.commits++
      assert.isFalse(one.committed.has(serial), `${session.name} ${serial} committed twice`)
      one.committed.add(serial)
    } else counts.repeats++
    if (durability === "synced") one.acknowledged = Math.max(one.acknowledged, serial)
  }

  /** Sends what is next, what comes after it, and what was there before, in any order. */
  readonly burst = (session: Session.Session): Effect.Effect<void, StoreError, Store.Store> =>
    Effect.suspend(() => {
      const next = session.serial + 1
      const serials = Array.from(
        { length: 1 + this.chance.int(5) },
        () => Math.max(1, next - 2 + this.chance.int(5))
      )
      if (this.chance.bool(0.8)) serials.unshift(next)
      return Effect.forEach(serials, (serial) => this.send(session, serial), {
        concurrency: "unbounded",
        discard: true
      })
    })
}

/** Opens all sessions and checks what is there against what is known. */
const check = (
  known: ReadonlyMap<string, Known>
): Effect.Effect<
  ReadonlyArray<Session.Session>,
  SessionInUse | StoreError,
  Store.Store | Scope.Scope
> =>
  Effect.gen(function*() {
    const sessions = yield* Effect.forEach(names, Session.open)
    const found = yield* Snapshot.read()(Effect.gen(function*() {
      const lists = yield* Effect.forEach(names, (name) => Done.get(name))
      const totals = yield* Effect.forEach([...names, "all"], (name) => Totals.get(name))
      return {
        lists: lists.map((list) => Option.getOrElse(list, (): ReadonlyArray<number> => [])),
        total: totals.reduce((sum, total) => sum + Option.getOrElse(total, () => 0), 0)
      }
    }))
    let sum = 0
    sessions.forEach((session, index) => {
      const { name, serial } = session
      const { acknowledged, sent } = known.get(name) as Known
      assert.deepStrictEqual(found.lists[index], Array.from({ length: serial }, (_, n) => n + 1), name)
      assert.isAtLeast(serial, acknowledged, `${name}: what was acknowledged is there`)
      assert.isAtMost(serial, sent, `${name}: nothing is there that was not sent`)
      if (serial < sent) counts.lost++
      sum += serial
    })
    assert.strictEqual(found.total, sum)
    return sessions
  })

/** One life of a store: what is there is checked, and goes on from there; fails where the disk does. */
export const work = (
  options: { readonly known: ReadonlyMap<string, Known>; readonly chance: Random; readonly bursts: number }
): Effect.Effect<void, SessionInUse | StoreError, Store.Store> =>
  Effect.scoped(Effect.gen(function*() {
    const { bursts, chance, known } = options
    const sessions = yield* check(known)
    for (const [, one] of known) one.committed.clear()
    const working = new Work(known, chance)
    yield* Effect.forEach(
      sessions,
      (session) =>
        Effect.forEach(Array.from({ length: bursts }), () => working.burst(session), { discard: true }),
      { concurrency: "unbounded", discard: true }
    )
  }))
