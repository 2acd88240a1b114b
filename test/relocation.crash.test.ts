/**
 * A power cut at any time while large values are moved, overwritten, removed and cleared beside each other.
 *
 * `HEARTWOOD_SEED=n` replays one workload, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Move } from "../src/actors/commit/Request.ts"
import type { Disk } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { figure } from "./support/figures.ts"
import { options } from "./support/large.ts"
import { check, figures, shots } from "./support/powerCut.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { open, perform, quiesce } from "./support/storeDoor.ts"
import type { State, Step } from "./support/storeModel.ts"
import { play, stamped } from "./support/storeModel.ts"
import { passing } from "./support/storeSize.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? Array.from({ length: 6 }, (_, index) => index + 1) : [Number(asked)]
const rounds = 20

/** Values that were written anew, and those for which it did not come too late. */
const reached = { values: 0, moves: 0 }

const small = {
  ...options,
  limits: { ...options.limits, undurableBytes: 1024, checkpoint: { logBytes: 8192, hardLogBytes: 1_048_576 } }
}

const draw = (chance: Random): Step => {
  const keyspace = chance.bool(0.8) ? "one" : "two"
  const key = `k${chance.int(chance.bool(0.3) ? 12 : 4)}`
  const kind = chance.next()
  if (kind < 0.06) return { _tag: "remove", keyspace, key }
  if (kind < 0.08) return { _tag: "clear", keyspace: "two" }
  const value = String.fromCharCode(97 + chance.int(26)).repeat(kind < 0.2 ? 20 : 300 + chance.int(1200))
  return { _tag: "put", keyspace, key, value }
}

interface History {
  readonly states: Array<State>
  durable: number
}

/** A value as it is now, to be written anew when it may be another one already. */
const planned = (
  store: Store.Store["Service"],
  key: string
): Effect.Effect<ReadonlyArray<Move>, StoreError> =>
  Effect.suspend(() => {
    const { fetch, parts, tree, visible } = store.machine
    const generation = parts.generations.find("one", visible())
    const bytes = Uint8Array.from(Buffer.from(key))
    if (generation === undefined || tree.get(generation.root, bytes, Infinity) !== 1) {
      return Effect.succeed([])
    }
    const reference = tree.foundReference()
    if (reference === undefined) return Effect.succeed([])
    const move = {
      keyspace: generation.keyspaceId,
      key: bytes,
      from: reference.lsn,
      version: tree.foundVersion()
    }
    return Effect.map(fetch(reference), (value) => [{ ...move, value }])
  })

/** A few commits at a time, which do not look: their order is that in which they begin. */
const life = (chance: Random, history: History): Effect.Effect<void, StoreError, Disk | FaultDisk> =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    const { close, store } = yield* open(small)
    const { parts } = store.machine
    for (let round = 0; round < rounds; round++) {
      if (chance.bool(0.2)) {
        yield* Effect.forkDetach(Effect.exit(store.checkpoint), { startImmediately: true })
      }
      const moves = chance.bool(0.4) ? yield* planned(store, `k${chance.int(4)}`) : []
      const jobs = Array.from({ length: 1 + chance.int(5) }, () => ({
        steps: Array.from({ length: 1 + chance.int(2) }, () => draw(chance)),
        durability: chance.pick(["memory", "synced", "synced"] as const)
      }))
      const commit = ({ durability, steps }: (typeof jobs)[number]) =>
        Effect.provideService(Tx.commit({ durability })(perform(steps, [])), Store.Store, store)
      const fibers = yield* Effect.forEach(
        jobs,
        (job) => Effect.forkChild(commit(job), { startImmediately: true })
      )
      if (moves.length > 0) {
        reached.values++
        // Its end is not waited for: it has no place in the order of commits.
        yield* Effect.forkDetach(Effect.exit(parts.wal.relocate(moves)), { startImmediately: true })
      }
      for (const [index, { durability, steps }] of jobs.entries()) {
        const before = history.states.at(-1) as State
        history.states.push(play(before, steps).state)
        const { lsn } = yield* Fiber.join(fibers[index] as (typeof fibers)[number])
        history.states.push(stamped(before, history.states.pop() as State, lsn))
        if (durability === "synced") history.durable = history.states.length - 1
      }
      if (chance.bool(0.2)) yield* quiesce(faults.operations)
    }
    yield* quiesce(faults.operations)
    reached.values += parts.relocation.counters.values
    reached.moves += parts.treeActor.charges.moves
    yield* Effect.raceFirst(close, passing)
  })

const workload = (seed: number): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const history: History = { states: [new Map()], durable: 0 }
    const taken = yield* shots(
      { seed, every: 10, durable: () => history.durable },
      life(random(seed), history)
    )
    const chance = random(seed)
    for (const shot of taken) {
      yield* check(shot, small, history.states, chance.bool(0.01) ? "nested" : "last")
    }
  }).pipe(
    Effect.provide(layer({ seed })),
    Effect.catchCause((cause) => Effect.die(new Error(`HEARTWOOD_SEED=${seed}: ${cause}`, { cause })))
  )

describe("a power cut while large values are moved", () => {
  for (const seed of seeds) {
    it.effect(`leaves a prefix of the commits (seed ${seed})`, () => workload(seed), 120_000)
  }

  it("was tried often", () => {
    figure("C1 crashes while values are moved", figures, reached)
    if (asked !== undefined) return
    assert.isAbove(figures.states, 1_000)
    assert.isAbove(reached.moves, 50)
    assert.isAbove(reached.values, reached.moves + 5)
  })
})
