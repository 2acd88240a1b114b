/**
 * A disk that refuses every operation from some point on, or loses what a sync was to keep: whoever waits hears of it
 * with a typed error, nothing hangs, what can still be read is right, and the store opens again with all that was
 * acknowledged as synced.
 *
 * `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type { Disk } from "../src/disk/Disk.ts"
import type { Fault, Observed } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Durability } from "../src/Limits.ts"
import * as Store from "../src/Store.ts"
import { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import { auditStore } from "./support/storeAudit.ts"
import { directory, dump, open, perform, quiesce, settle } from "./support/storeDoor.ts"
import type { State, Step } from "./support/storeModel.ts"
import { Draw, play, stateDifference } from "./support/storeModel.ts"
import { names as few, passing } from "./support/storeSize.ts"

const pageBytes = 1024

const options = {
  limits: {
    pageBytes,
    memoryBytes: 24 * pageBytes,
    stagingBytes: 4 * pageBytes,
    mergeWorkspaces: 1,
    loadsInFlight: 2,
    inlineValueBytes: 100,
    segmentBytes: 4096,
    undurableBytes: 4096,
    checkpoint: { logBytes: 8192, hardLogBytes: 1_048_576 }
  }
}

const runSeed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const figures = { runs: 0, operations: 0, failedOpens: 0, poisoned: 0, survived: 0 }

/** So many that the catalog takes several pages. */
const names = [...few, ...Array.from({ length: 12 }, (_, index) => `${"name".repeat(16)}${index}`)]

interface Commit {
  readonly steps: ReadonlyArray<Step>
  readonly durability: Durability
}

/** Commits that do not look, so that their order is the order in which they are handed over. */
const commits: ReadonlyArray<Commit> = (() => {
  const chance = random(7)
  const draw = new Draw(chance, { keyspaces: few, keyBytes: 216, valueBytes: 400 })
  const clear: Step = { _tag: "clear", keyspace: "one" }
  return Array.from({ length: 24 }, (_, index): Commit => ({
    steps: [
      ...(index === 0
        ? names.map((keyspace): Step => ({ _tag: "put", keyspace, key: "a", value: "b" }))
        : []),
      ...draw.load(index % 3 === 0 ? 50 : 12),
      ...(index === 13 ? [clear] : [])
    ],
    durability: chance.pick(["memory", "buffered", "synced", "synced"] as const)
  }))
})()

const states: ReadonlyArray<State> = commits.reduce<ReadonlyArray<State>>(
  (all, { steps }) => [...all, play(all.at(-1) as State, steps).state],
  [new Map()]
)

/** What became of a run. */
interface Outcome {
  /** Commits up to the last that was acknowledged as synced. */
  synced: number
  readonly errors: Array<StoreError>
  evictions: number
}

const typed = <A>(
  what: string,
  exit: Exit.Exit<A, StoreError>,
  outcome: Outcome
): exit is Exit.Success<A> => {
  if (Exit.isSuccess(exit)) return true
  const error = Exit.findErrorOption(exit)
  if (
    error._tag === "None" || !(error.value instanceof StoreError) || error.value.reason._tag === "Defective"
  ) {
    throw new Error(`${what} ended with ${exit.cause}`)
  }
  outcome.errors.push(error.value)
  return false
}

/** Three transactions at a time, checkpoints beside them, and reads between. */
const workload = (outcome: Outcome): Effect.Effect<void, never, Disk | FaultDisk> =>
  Effect.gen(function*() {
    const opened = yield* Effect.exit(open(options))
    if (!typed("opening", opened, outcome)) {
      figures.failedOpens++
      return
    }
    const { close, store } = opened.value
    const commit = ({ durability, steps }: Commit) =>
      Effect.provideService(Tx.commit({ durability })(perform(steps, [])), Store.Store, store)
    for (let from = 0; from < commits.length; from += 3) {
      const fibers = yield* Effect.forEach(commits.slice(from, from + 3), (each) =>
        Effect.forkChild(Effect.exit(commit(each)), { startImmediately: true }))
      const checkpoint = from % 6 === 3 ? yield* Effect.forkChild(Effect.exit(store.checkpoint)) : undefined
      for (const [index, fiber] of fibers.entries()) {
        const done = typed("a commit", yield* Fiber.join(fiber), outcome)
        if (done && commits[from + index]?.durability === "synced") {
          outcome.synced = from + index + 1
        }
      }
      if (checkpoint !== undefined) {
        typed("a checkpoint", yield* Fiber.join(checkpoint), outcome)
      }
      const seen = yield* Effect.exit(dump(store, names))
      if (typed("a read", seen, outcome)) {
        expectPrefix("what is read", seen.value, outcome.synced)
      }
    }
    // What is moved behind the last checkpoint may still be struck.
    yield* settle(store, (yield* FaultDisk).operations)
    outcome.evictions = (yield* store.stat).counters.evictions
    if (store.machine.parts.wal.ready()) {
      figures.survived++
      yield* soundAgain(store)
    } else figures.poisoned++
    yield* close
  })

/** Once the disk is well again, a checkpoint succeeds and nothing is lost or leaks. */
const soundAgain = (store: Store.Store["Service"]): Effect.Effect<void, never, FaultDisk> =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    yield* faults.heal
    yield* Effect.orDie(store.checkpoint)
    yield* quiesce(faults.operations)
    const pageFile = faults.killImage().read(`${directory}/pages`) ?? new Uint8Array(0)
    assert.deepStrictEqual(auditStore(store.machine, pageFile).problems, [])
  })

const expectPrefix = (what: string, found: State, synced: number): void => {
  const index = states.findLastIndex((state) => stateDifference(found, state) === undefined)
  if (index >= synced) return
  const differs = stateDifference(found, states[synced] as State)
  throw new Error(`${what} is commit ${index}, of which ${synced} are synced: ${differs}`)
}

/**
 * Hangs are found by the clock of the wall; time in the store goes by as fast as it can. A commit that hangs cannot be
 * interrupted, so it is left behind.
 */
const bounded = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.forkDetach(effect), (fiber) =>
    Effect.raceAllFirst([
      Fiber.join(fiber),
      passing,
      Effect.callback<never>((resume) => {
        const timer = setTimeout(() => resume(Effect.die(new Error("hangs"))), 20_000)
        return Effect.sync(() => clearTimeout(timer))
      })
    ]))

/** What a store that is opened again shows is durable by then, whatever a page cache may have made it believe. */
const reopened = Effect.gen(function*() {
  const faults = yield* FaultDisk
  const { close, store } = yield* open(options)
  const found = yield* dump(store, names)
  const image = faults.crashImage({ keep: "nothing" })
  yield* close
  const kept = yield* Effect.gen(function*() {
    const again = yield* open(options)
    const state = yield* dump(again.store, names)
    yield* again.close
    return state
  }).pipe(Effect.provide(layer({ image })))
  const differs = stateDifference(kept, found)
  if (differs !== undefined) throw new Error(`what is reopened was not durable: ${differs}`)
  return found
})

/** Runs the workload with a fault, and answers the operations that there were. What the store draws depends on `seed`. */
const runWith = (fault: Fault | undefined, seed = runSeed): Effect.Effect<ReadonlyArray<Observed>> =>
  Effect.gen(function*() {
    figures.runs++
    const faults = yield* FaultDisk
    const operations: Array<Observed> = []
    const outcome: Outcome = { synced: 0, errors: [], evictions: 0 }
    if (fault !== undefined) yield* faults.fail(fault)
    yield* Effect.scoped(Effect.andThen(
      faults.observe((operation) => void operations.push(operation)),
      bounded(workload(outcome))
    ))
    yield* faults.heal
    const image = faults.crashImage({ keep: "nothing" })
    expectPrefix("what is reopened", yield* bounded(reopened), outcome.synced)
    const afterCut = yield* bounded(reopened).pipe(Effect.provide(layer({ image })))
    expectPrefix("what a power cut leaves", afterCut, outcome.synced)
    if (fault === undefined) {
      assert.deepStrictEqual(outcome.errors, [])
      assert.isAbove(outcome.synced, 20)
      assert.isAbove(outcome.evictions, 20)
    }
    return operations
  }).pipe(
    Effect.provide(layer()),
    Random.withSeed(seed),
    Effect.catchCause((cause) =>
      Effect.die(new Error(`${seed}, ${JSON.stringify(fault)}: ${cause}`, { cause }))
    )
  )

/** What strikes once, and a disk that is full, is the matter of `faults.test.ts`. */
const kinds: ReadonlyArray<readonly [string, (at: number) => Fault]> = [
  ["EIO for ever", (at) => ({ at, times: Infinity, outcome: { _tag: "Refused", code: "EIO" } })],
  ["a sync that drops its pages", (at) => ({
    at,
    operation: "sync",
    outcome: { _tag: "SyncFailed", pages: "dropped" }
  })],
  ["EIO for ever, of the page file", (at) => ({
    at,
    times: Infinity,
    path: /pages$/,
    operation: "write",
    outcome: { _tag: "Refused", code: "EIO" }
  })],
  ["EIO for ever, of a page read", (at) => ({
    at,
    times: Infinity,
    path: /pages$/,
    operation: "read",
    outcome: { _tag: "Refused", code: "EIO" }
  })],
  ["EIO for ever, of the superblocks", (at) => ({
    at,
    times: Infinity,
    path: /super$/,
    operation: ["write", "sync"],
    outcome: { _tag: "Refused", code: "EIO" }
  })],
  ["a sync that keeps its pages", (at) => ({
    at,
    operation: "sync",
    outcome: { _tag: "SyncFailed", pages: "kept" }
  })]
]

const looking: ReadonlySet<string> = new Set(["kind", "list", "size", "read"])

const strikes = ({ operation, path }: Fault, observed: Observed): boolean =>
  (operation === undefined || [operation].flat().includes(observed.operation))
  && (path === undefined || observed.path.search(path) >= 0)

describe("a disk that refuses", () => {
  for (const [title, fault] of kinds) {
    it.effect(`any operation: ${title}`, () =>
      Effect.gen(function*() {
        const operations = yield* runWith(undefined)
        const struck = operations.filter((each) => strikes(fault(1), each))
        for (const [index, { operation }] of struck.entries()) {
          // Of the many that only look, every fourth; "a page read" has its own row. Of the others every second.
          if (index % (looking.has(operation) ? 4 : 2) > 0) continue
          yield* runWith(fault(index + 1))
          figures.operations++
        }
      }), 180_000)
  }

  it.effect(
    "a sync that drops a page that is short of memory when it is imaged anew",
    () =>
      Effect.gen(function*() {
        // It leaves memory again before it is touched with one seed in fifty or so.
        for (let seed = 1; seed <= 100; seed++) {
          yield* runWith(
            { at: 95, operation: "sync", outcome: { _tag: "SyncFailed", pages: "dropped" } },
            seed
          )
        }
      }),
    180_000
  )

  it("was tried at every operation", () => {
    figure("C3 faults of a store", figures)
    assert.isAbove(figures.operations, 500)
    assert.isAbove(figures.poisoned, 100)
    assert.isAbove(figures.survived, 50)
  })
})
