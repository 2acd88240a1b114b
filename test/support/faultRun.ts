/**
 * A small life of a store on a disk that refuses something: opened, written to, read, checkpointed, and left.
 *
 * The commits are the same in every run, so that each state that may be found afterwards is known. The schedule is the
 * same too: until the fault strikes, a run does what the one without a fault does, operation by operation. Nothing
 * waits for real time, and whoever waits for ever is found after a bounded number of steps.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Policy from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { Disk } from "../../src/disk/Disk.ts"
import type { Fault, Image, Observed } from "../../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type { Durability } from "../../src/Limits.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import * as Verify from "../../src/Verify.ts"
import type { Counted } from "./descriptors.ts"
import { counted } from "./descriptors.ts"
import { random } from "./random.ts"
import { calm, Schedule } from "./schedule.ts"
import { contents, directory, dump, open, perform } from "./storeDoor.ts"
import type { State, Step } from "./storeModel.ts"
import { Draw, play, stateDifference } from "./storeModel.ts"

const pageBytes = 1024
const names = ["one", "two"]

export const options = {
  limits: {
    pageBytes,
    memoryBytes: 20 * pageBytes,
    stagingBytes: 4 * pageBytes,
    mergeWorkspaces: 1,
    loadsInFlight: 2,
    inlineValueBytes: 100,
    segmentBytes: 4096,
    undurableBytes: 4096,
    checkpoint: { logBytes: 8192, hardLogBytes: 1_048_576 }
  }
}

/** One for all lives: the store's id is drawn from it, and the operations of the disk depend on that. */
const lifeSeed = 5

interface Commit {
  readonly steps: ReadonlyArray<Step>
  readonly durability: Durability
}

/** Commits that do not look, so that their order is the order in which they are handed over. */
const commits: ReadonlyArray<Commit> = (() => {
  const chance = random(7)
  const draw = new Draw(chance, { keyspaces: names, keyBytes: 60, valueBytes: 400 })
  const clear: Step = { _tag: "clear", keyspace: "one" }
  return Array.from({ length: 16 }, (_, index): Commit => ({
    steps: [...draw.load(index % 3 === 0 ? 24 : 8), ...(index === 8 ? [clear] : [])],
    durability: (["synced", "buffered", "synced", "memory"] as const)[index % 4] as Durability
  }))
})()

const states: ReadonlyArray<State> = commits.reduce<ReadonlyArray<State>>(
  (all, { steps }) => [...all, play(all.at(-1) as State, steps).state],
  [new Map()]
)

/** Where in its life a store is when something is refused. */
export type Phase = "opening" | "serving" | "closing"

/** What a call was that failed, and with what. */
export interface Failed {
  readonly call: "open" | "commit" | "checkpoint" | "read"
  readonly error: StoreError
}

/** An operation of the disk, and where in the life of the store it came. */
export interface Struck extends Observed {
  readonly phase: Phase
}

/** What became of a run. */
export interface Outcome {
  readonly failed: Array<Failed>
  /** Every operation, as it began. */
  readonly operations: Array<Struck>
  /** Commits up to the last that was acknowledged as synced. */
  synced: number
  /** Whether the store took commits until it was left; undefined where it did not open. */
  accepting: boolean | undefined
  evictions: number
  segments: number
}

/** How a store is used, and left: closed, killed, or with the power cut; before that the fault may be taken back. */
export interface Leaving {
  /** Commits that are handed over at a time: one where some may be refused and sent again, so that their order stays. */
  readonly together: 1 | 3
  readonly by: "close" | "kill" | "cut"
  readonly heals: boolean
  /** Of what a power cut leaves. */
  readonly seed: number
}

class Life {
  readonly outcome: Outcome = {
    failed: [],
    operations: [],
    synced: 0,
    accepting: undefined,
    evictions: 0,
    segments: 0
  }
  private readonly faults: FaultDisk["Service"]
  private phase: Phase = "opening"
  private refusedFrom: number | undefined

  constructor(faults: FaultDisk["Service"]) {
    this.faults = faults
  }

  /** The answer of a call; undefined where it failed with a typed error. */
  private noted<A>(call: Failed["call"], exit: Exit.Exit<A, StoreError>): { readonly value: A } | undefined {
    if (Exit.isSuccess(exit)) return { value: exit.value }
    const error = Exit.findErrorOption(exit)
    if (error._tag === "None" || !(error.value instanceof StoreError)) {
      throw new Error(`a ${call} ended with ${exit.cause}`)
    }
    this.outcome.failed.push({ call, error: error.value })
    return undefined
  }

  readonly run = (leaving: Leaving): Effect.Effect<void, never, Disk> =>
    Effect.scoped(Effect.gen({ self: this }, function*() {
      const { outcome } = this
      yield* this.faults.observe((operation) => {
        outcome.operations.push({ ...operation, phase: this.phase })
      })
      const opened = this.noted("open", yield* Effect.exit(open(options)))
      if (opened === undefined) return
      const { close, store } = opened.value
      this.phase = "serving"
      for (let from = 0; from < commits.length; from += leaving.together) {
        yield* this.round(store, from, leaving)
      }
      yield* Effect.sleep("2 seconds")
      yield* this.look(store)
      // Whatever is under way at this very moment comes to its end.
      yield* Effect.sleep("1 millis")
      const { counters, log } = yield* store.stat
      outcome.evictions = counters.evictions
      outcome.segments = log.files
      outcome.accepting = store.machine.parts.wal.ready()
      if (leaving.heals) yield* this.heal(store)
      this.phase = "closing"
      if (leaving.by !== "close") yield* this.faults.kill
      yield* close
    }))

  /** Three transactions at a time, checkpoints beside them, and a read behind. */
  private round(store: Store.Store["Service"], from: number, { together }: Leaving): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      // Those after one that was refused are of no use: nobody knows the state that they would lead to.
      const handed = commits.slice(from, this.refusedFrom === undefined ? from + together : from)
      const fibers = yield* Effect.forEach(
        handed,
        (each) => Effect.forkChild(Effect.exit(commit(store, each)), { startImmediately: true })
      )
      const checkpoint = from % 6 === 3
        ? yield* Effect.forkChild(Effect.exit(store.checkpoint), { startImmediately: true })
        : undefined
      for (const [index, fiber] of fibers.entries()) {
        const done = this.noted("commit", yield* Fiber.join(fiber))
        if (done === undefined) this.refusedFrom ??= from + index
        const isSynced = commits[from + index]?.durability === "synced"
        if (done !== undefined && isSynced) this.outcome.synced = from + index + 1
      }
      if (checkpoint !== undefined) this.noted("checkpoint", yield* Fiber.join(checkpoint))
      yield* this.look(store)
    })
  }

  private look(store: Store.Store["Service"]): Effect.Effect<void> {
    return Effect.map(
      Effect.exit(Effect.provideService(Snapshot.read()(contents(names)), Store.Store, store)),
      (exit) => {
        const seen = this.noted("read", exit)
        if (seen !== undefined) expectPrefix("what is read", seen.value, this.outcome.synced)
      }
    )
  }

  /** The disk is well again: a store that took commits goes on, one that did not stays as it is. */
  private heal(store: Store.Store["Service"]): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      yield* this.faults.heal
      const missing = commits.slice(this.refusedFrom ?? -1)
      const again = Effect.exit(Effect.andThen(
        Effect.forEach(missing, (each) => commit(store, each), { discard: true }),
        store.checkpoint
      ))
      const exit = yield* again
      if (this.outcome.accepting === true) return Exit.isSuccess(exit) ? undefined : yield* Effect.die(exit)
      this.noted("commit", exit)
    })
  }
}

/** A commit that is refused because the disk is full is sent again, five times in a second. */
const commit = (store: Store.Store["Service"], { durability, steps }: Commit) =>
  Effect.retry(Effect.provideService(Tx.commit({ durability })(perform(steps, [])), Store.Store, store), {
    times: 5,
    schedule: Policy.spaced("200 millis"),
    while: ({ reason }) => reason._tag === "DiskFull"
  })

/** Answers how many commits are found. */
const expectPrefix = (what: string, found: State, synced: number): number => {
  const index = states.findLastIndex((state) => stateDifference(found, state) === undefined)
  if (index >= synced) return index
  const differs = stateDifference(found, states[synced] as State)
  throw new Error(`${what} is commit ${index}, of which ${synced} are synced: ${differs}`)
}

/** What a healthy disk with these bytes shows: no damage, and nothing lost that was acknowledged as synced. */
const found = (image: Image, synced: number): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    if (image.read(`${directory}/super`) !== undefined) {
      const { findings } = yield* Verify.verifyDisk({ path: directory })
      if (findings.length > 0) throw new Error(`verify finds ${JSON.stringify(findings[0])}`)
    }
    const { close, store } = yield* open(options)
    expectPrefix("what is found", yield* dump(store, names), synced)
    yield* close
  }).pipe(Effect.provide(layer({ image })))

/** A disk as a crash in the middle of a life leaves it. */
export interface Crashed {
  readonly image: Image
  /** Commits that were acknowledged as synced by then. */
  readonly synced: number
}

/** Runs a life with faults, and opens what it leaves behind; `taken` is asked at each operation for crashes. */
export const runWith = (
  faults: ReadonlyArray<Fault>,
  leaving: Leaving,
  taken?: { readonly at: (number: number) => boolean; readonly crashed: Array<Crashed> }
): Outcome =>
  scheduled(lifeSeed, undefined, (disk, descriptors) =>
    Effect.gen(function*() {
      const life = new Life(disk)
      for (const fault of faults) yield* disk.fail(fault)
      if (taken !== undefined) {
        yield* disk.observe(({ number }) => {
          if (!taken.at(number)) return
          const image = disk.crashImage({ seed: leaving.seed + number })
          taken.crashed.push({ image, synced: life.outcome.synced })
        })
      }
      yield* Effect.provideService(life.run(leaving), Disk, descriptors.disk)
      expectClosed(descriptors)
      const image = leaving.by === "kill" ? disk.killImage() : disk.crashImage({ seed: leaving.seed })
      yield* found(image, life.outcome.synced)
      return life.outcome
    }))

/**
 * Opens what a crash left behind, on a disk that refuses something; after another crash it is opened on a sane one.
 * Answers how opening ended.
 */
export const recoverWith = (
  { image, synced }: Crashed,
  faults: ReadonlyArray<Fault>,
  { isFull, seed }: { readonly seed: number; readonly isFull: boolean }
): StoreError | undefined =>
  scheduled(seed, image, (disk, descriptors) =>
    Effect.gen(function*() {
      for (const fault of faults) yield* disk.fail(fault)
      if (isFull) yield* disk.limit(bytesOf(image))
      const opened = yield* Effect.exit(Effect.provideService(open(options), Disk, descriptors.disk))
      let error: StoreError | undefined
      let durable = synced
      if (Exit.isSuccess(opened)) {
        const { close, store } = opened.value
        const seen = yield* Effect.exit(dump(store, names))
        // What recovery shows is durable, whatever a page cache may have made it believe.
        if (Exit.isSuccess(seen)) durable = expectPrefix("what is recovered", seen.value, synced)
        if (seed % 2 === 0) yield* disk.kill
        yield* close
      } else {
        const failure = Exit.findErrorOption(opened)
        if (failure._tag === "None") throw new Error(`opening ended with ${opened.cause}`)
        error = failure.value
      }
      expectClosed(descriptors)
      yield* found(disk.crashImage({ seed }), durable)
      return error
    }))

const bytesOf = (image: Image): number =>
  image.paths().reduce((sum, path) => sum + (image.read(path)?.length ?? 0), 0)

const expectClosed = ({ open }: Counted): void => {
  const left = open()
  if (left.length > 0) throw new Error(`nobody closed ${left}`)
}

/** Runs a program on a disk of its own, to its end and without real time. No two lives may be of one incarnation. */
const scheduled = <A>(
  seed: number,
  image: Image | undefined,
  program: (disk: FaultDisk["Service"], descriptors: Counted) => Effect.Effect<A, StoreError, Scope.Scope>
): A => {
  const run = Effect.gen(function*() {
    return yield* program(yield* FaultDisk, counted(yield* Disk))
  })
  const made = layer(image === undefined ? { seed } : { seed, image })
  const exit = new Schedule(seed, { manner: calm }).run(
    Effect.scoped(Effect.provide(run, made)).pipe(Effect.provide(Logger.layer([])))
  )
  if (Exit.isSuccess(exit)) return exit.value
  throw new Error(`${exit.cause}`)
}
