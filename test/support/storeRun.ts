/**
 * One life of a store and its model, from a seed: every step is drawn, carried out on both, and compared.
 *
 * The store is as small as it may be, so that pages are evicted, split, merged, imaged and loaded all the time. What
 * is committed is kept as a list of states; after a power cut the store must be one of them, whole, at or after the
 * last that was acknowledged as synced.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { Disk } from "../../src/disk/Disk.ts"
import { FaultDisk } from "../../src/disk/FaultDisk.ts"
import type { Durability } from "../../src/Limits.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Random } from "./random.ts"
import { random } from "./random.ts"
import { auditStore } from "./storeAudit.ts"
import type { Look, Opened } from "./storeDoor.ts"
import { directory, dump, keyspaceOf, look, open, perform, quiesce } from "./storeDoor.ts"
import type { Result, State, Step } from "./storeModel.ts"
import { compare, Draw, play, rowsOf, stamped, stateDifference } from "./storeModel.ts"
import { Readers } from "./storeReaders.ts"
import type { Options, Shape, Tally } from "./storeSize.ts"
import { names, optionsOf, passing } from "./storeSize.ts"

/** One transaction of many. */
interface Job {
  readonly steps: ReadonlyArray<Step>
  readonly durability: Durability
  readonly results: Array<Result>
}

type Ended = Exit.Exit<Tx.Commit<void>, StoreError>
const lsnOf = (ended: Ended): number => Exit.isSuccess(ended) ? ended.value.lsn : Infinity

export class Run {
  private readonly chance: Random
  private readonly draw: Draw
  private readonly options: Options
  private readonly faults: FaultDisk["Service"]
  private readonly counts: Tally
  private opened: Opened
  /** States by commit since the store was opened; the last is the current one. */
  private states: Array<State> = [new Map()]
  /** Index of the first state that may be found after a power cut. */
  private durable = 0
  readonly readers: Readers

  constructor(options: {
    readonly chance: Random
    readonly options: Options
    readonly faults: FaultDisk["Service"]
    readonly opened: Opened
    readonly counts: Tally
  }) {
    this.chance = options.chance
    this.options = options.options
    this.faults = options.faults
    this.opened = options.opened
    this.counts = options.counts
    this.draw = new Draw(this.chance, { keyspaces: names, keyBytes: 216, valueBytes: 700 })
    this.readers = new Readers({ chance: this.chance, draw: this.draw, counts: this.counts })
  }

  private get state(): State {
    return this.states.at(-1) as State
  }

  get store(): Store.Store["Service"] {
    return this.opened.store
  }

  private provide<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Store.Store>> {
    return Effect.provideService(effect, Store.Store, this.opened.store)
  }

  /** States that may be found after a power cut now, and those that come. */
  get history(): { readonly states: ReadonlyArray<State>; readonly durable: number } {
    return { states: this.states, durable: this.durable }
  }

  /** Does one thing. */
  readonly next: Effect.Effect<void, StoreError, Disk> = Effect.suspend(() => {
    const kind = this.chance.next()
    if (kind < 0.96) return this.work
    if (kind < 0.98) return this.reopen
    return kind < 0.99 ? this.crash : this.crashDuring
  })

  /** Does one thing that the store outlives. */
  readonly work: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const { chance } = this
    const kind = chance.next()
    if (kind < 0.52) return this.transact(this.draw.steps(6))
    if (kind < 0.6) return this.transact(this.draw.load(1 + chance.int(chance.bool(0.1) ? 600 : 60)))
    if (kind < 0.7) return this.read
    if (kind < 0.79) return this.burst({ failures: "none" })
    if (kind < 0.83) return this.readers.hold(this.opened.store, this.state)
    if (kind < 0.9) return this.readers.read
    if (kind < 0.93) return this.readers.letGo(chance.int(3))
    return kind < 0.97 ? this.checkpoint : TestClock.adjust("20 millis")
  })

  private durability(): Durability {
    return this.chance.pick(["memory", "buffered", "synced"] as const)
  }

  /** Changes more pages than a checkpoint writes at a time, then overtakes one. */
  readonly overtake: Effect.Effect<void, StoreError> = Effect.suspend(() =>
    Effect.gen({ self: this }, function*() {
      const steps = this.draw.load(4_000)
      yield* this.transact(steps)
      const running = yield* Effect.forkChild(this.opened.store.checkpoint, { startImmediately: true })
      for (let index = 0; index < 8; index++) {
        const from = this.chance.int(steps.length)
        yield* this.transact(steps.filter((_, index) => index >= from && index % 50 === 0))
      }
      yield* Fiber.join(running)
    })
  )

  /** A transaction by itself. */
  private transact(steps: ReadonlyArray<Step>): Effect.Effect<void, StoreError> {
    const durability = this.durability()
    const fails = this.chance.bool(0.1)
    const before = this.state
    const played = play(before, steps)
    return Effect.gen({ self: this }, function*() {
      const results: Array<Result> = []
      const body = Effect.suspend(() => {
        results.length = 0
        return Effect.andThen(
          perform(steps, results),
          fails ? Effect.fail("rolled back" as const) : Effect.void
        )
      })
      const exit = yield* this.provide(Effect.exit(Tx.commit({ durability })(body)))
      compare("in a transaction", results, played.results)
      if (fails) {
        if (Exit.isSuccess(exit)) throw new Error("a body that failed was committed")
        const error = Exit.findErrorOption(exit)
        if (error._tag !== "Some" || error.value !== "rolled back") {
          throw new Error(`a body failed: ${exit.cause}`)
        }
        this.counts.rollbacks++
        return
      }
      if (Exit.isFailure(exit)) throw new Error(`a transaction failed: ${exit.cause}`)
      this.committed(stamped(before, played.state, exit.value.lsn), durability)
    })
  }

  private committed(state: State, durability: Durability): void {
    this.counts.commits++
    this.states.push(state)
    if (durability === "synced") this.durable = this.states.length - 1
  }

  /** Many transactions at once: they share syncs, and find each other's pages on the way. */
  private burst(options: { readonly failures: "none" | "expected" }): Effect.Effect<void, StoreError> {
    const { chance } = this
    const jobs = Array.from({ length: 2 + chance.int(8) }, (): Job => ({
      // One that only reads may see an older snapshot: it has no place in the order.
      steps: [...this.draw.load(chance.bool(0.2) ? 10 : 1), ...this.draw.steps(4)].filter((step) =>
        // One that looked may lose, and fail before it runs again: nobody knows then that it has no place either.
        options.failures === "none" || blind.has(step._tag) || isBlindMerge(step)
      ),
      durability: this.durability(),
      results: []
    }))
    let order: Array<Job> = []
    const { store } = this.opened
    const handedOver = (job: Job): Store.Store["Service"] => ({
      ...store,
      machine: {
        ...store.machine,
        submit: (intent, stream) => {
          // A body that lost runs again: only its last place counts.
          order = [...order.filter((other) => other !== job), job]
          return store.machine.submit(intent, stream)
        }
      }
    })
    const commit = (job: Job) =>
      Effect.provideService(
        Tx.commit({ durability: job.durability })(Effect.suspend(() => {
          job.results.length = 0
          return perform(job.steps, job.results)
        })),
        Store.Store,
        handedOver(job)
      )
    return Effect.gen({ self: this }, function*() {
      // Sometimes with a checkpoint among them.
      if (chance.bool(0.3)) yield* Effect.forkDetach(Effect.exit(this.opened.store.checkpoint))
      const fibers = yield* Effect.forEach(
        jobs,
        (job) => Effect.forkChild(Effect.exit(commit(job)))
      )
      const ended = new Map<Job, Ended>()
      for (const [index, fiber] of fibers.entries()) ended.set(jobs[index] as Job, yield* Fiber.join(fiber))
      for (const exit of ended.values()) {
        if (Exit.isFailure(exit) && options.failures === "none") return yield* Effect.failCause(exit.cause)
      }
      const jobsInOrder = order.map((job): readonly [Job, Ended] => [job, ended.get(job) as Ended])
      // Where all were committed, their LSNs say more than the order in which they were handed over.
      this.inOrder(
        options.failures === "none" ? jobsInOrder.toSorted((a, b) => lsnOf(a[1]) - lsnOf(b[1])) : jobsInOrder
      )
    })
  }

  /** Plays transactions in the order in which they were handed over; one that failed may have been committed. */
  private inOrder(jobs: ReadonlyArray<readonly [Job, Ended]>): void {
    let last = 0
    for (const [{ durability, results, steps }, exit] of jobs) {
      const before = this.state
      const played = play(before, steps)
      if (Exit.isFailure(exit)) {
        this.committed(stamped(before, played.state, undefined), "memory")
        continue
      }
      const { lsn } = exit.value
      compare("in a burst", results, played.results)
      if (lsn < last) throw new Error(`LSN ${lsn} after ${last}`)
      last = lsn
      this.committed(stamped(before, played.state, lsn), durability)
    }
  }

  private readonly read: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const steps = Array.from({ length: 4 }, () => this.draw.look() as Look)
    const { results: expected } = play(this.state, steps)
    const boundary = this.chance.bool(0.5) ? Snapshot.read() : Tx.transact()
    return Effect.gen({ self: this }, function*() {
      const results = yield* this.provide(boundary(Effect.forEach(steps, look)))
      compare("in a snapshot", results, expected)
      for (const keyspace of names) {
        const { count, unresolved } = yield* this.provide(keyspaceOf(keyspace).stat)
        const rows = rowsOf(this.state, keyspace).length
        if (Math.abs(count - rows) > unresolved) {
          throw new Error(`${keyspace} counts ${count} records, not ${rows}`)
        }
        if (this.chance.bool(0.9)) continue
        const exact = yield* this.provide(keyspaceOf(keyspace).count)
        if (exact !== rows) throw new Error(`${keyspace} has ${exact} records, not ${rows}`)
      }
    })
  })

  private readonly checkpoint: Effect.Effect<void, StoreError> = Effect.suspend(() =>
    Effect.map(this.opened.store.checkpoint, () => {
      // The log is durable up to the cut, and nothing was committed since.
      this.durable = this.states.length - 1
    })
  )

  /** Everything that must hold while the store is at rest. */
  readonly audit: Effect.Effect<void, StoreError> = Effect.gen({ self: this }, function*() {
    yield* quiesce(this.faults.operations)
    const pageFile = this.faults.killImage().read(`${directory}/pages`) ?? new Uint8Array(0)
    const { problems, report } = auditStore(this.opened.store.machine, pageFile)
    if (problems.length > 0) throw new Error(problems.slice(0, 5).join("; "))
    this.counts.audits++
    for (const { height, leaves } of report.trees) {
      this.counts.leaves += leaves.length
      this.counts.heights = Math.max(this.counts.heights, height)
    }
  })

  private readonly count: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    const { counters } = yield* this.opened.store.stat
    this.counts.parked += this.opened.store.machine.parts.treeActor.counters.parked
    this.counts.conflicts += this.opened.store.machine.parts.wal.counters.conflicts
    this.counts.pieces += this.opened.store.machine.parts.wal.streams.counters.pieces
    this.counts.aborts += this.opened.store.machine.parts.wal.streams.counters.aborts
    this.counts.moves += this.opened.store.machine.parts.treeActor.charges.moves
    this.counts.loads += counters.loads
    this.counts.evictions += counters.evictions
    this.counts.checkpoints += counters.checkpoints
    this.counts.images += counters.images
    this.counts.pageIds = Math.max(this.counts.pageIds, this.opened.store.machine.tree.pages.map.bound)
    this.counts.segments += this.opened.store.machine.parts.tail.segment.sequence
  })

  private readonly reopen: Effect.Effect<void, StoreError, Disk> = Effect.gen({ self: this }, function*() {
    this.counts.reopens++
    yield* this.readers.letAllGo
    yield* this.shut
    this.opened = yield* open(this.options)
    yield* this.settle([this.state])
  })

  readonly shut: Effect.Effect<void> = Effect.andThen(
    Effect.suspend(() => this.count),
    Effect.suspend(() => Effect.raceFirst(this.opened.close, passing))
  )

  /** Power cut or process death at rest. */
  private readonly crash: Effect.Effect<void, StoreError, Disk> = Effect.gen({ self: this }, function*() {
    yield* this.readers.letAllGo
    const power = this.chance.bool(0.7)
    if (power) yield* this.faults.cut({ seed: this.chance.int(2 ** 31) })
    else yield* this.faults.kill
    yield* this.revive
  })

  /** A power cut while transactions are under way. */
  private readonly crashDuring: Effect.Effect<void, StoreError, Disk> = Effect.gen(
    { self: this },
    function*() {
      yield* this.readers.letAllGo
      const crash = { seed: this.chance.int(2 ** 31) }
      yield* this.faults.fail({ at: 1 + this.chance.int(12), outcome: { _tag: "Cut", crash } })
      // What cannot be written is tried again after a while, and refused in the end.
      yield* Effect.raceFirst(this.burst({ failures: "expected" }), passing)
      yield* this.faults.heal
      yield* this.faults.cut(crash)
      yield* this.revive
    }
  )

  private readonly revive: Effect.Effect<void, StoreError, Disk> = Effect.gen({ self: this }, function*() {
    this.counts.crashes++
    yield* this.shut
    yield* this.faults.restart
    this.opened = yield* open(this.options)
    yield* this.settle(this.states.slice(this.durable))
  })

  /** Compares the store with the states that it may be in, and goes on from the one it is in. */
  private settle(allowed: ReadonlyArray<State>): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      const found = yield* dump(this.opened.store, names)
      const index = allowed.findIndex((state) => stateDifference(found, state) === undefined)
      if (index < 0) {
        const differences = allowed.map((state) => stateDifference(found, state))
        throw new Error(
          `none of ${allowed.length} states was recovered: ${differences.slice(-3).join(" | ")}`
        )
      }
      this.counts.lostCommits += allowed.length - 1 - index
      this.states = [found]
      this.durable = 0
    })
  }

  readonly end: Effect.Effect<void, StoreError, Disk> = Effect.gen({ self: this }, function*() {
    yield* this.reopen
    yield* this.shut
  })
}

const blind: ReadonlySet<Step["_tag"]> = new Set(["put", "remove", "clear", "drop"])
/** What grows is read. */
const isBlindMerge = (step: Step): boolean => step._tag === "merge" && step.keyspace === "sums"

/** Opens a new store and its model. */
export const begin = (
  seed: number,
  shape: Shape,
  counts: Tally
): Effect.Effect<{ readonly life: Run; readonly options: Options }, StoreError, Disk | FaultDisk> =>
  Effect.gen(function*() {
    const chance = random(seed)
    const options = optionsOf(chance, shape)
    const faults = yield* FaultDisk
    return { life: new Run({ chance, options, faults, opened: yield* open(options), counts }), options }
  })

/** Runs one seed. */
export const run = (
  seed: number,
  shape: Shape,
  options: { readonly steps: number; readonly counts: Tally }
): Effect.Effect<void, StoreError, Disk | FaultDisk> =>
  Effect.gen(function*() {
    const { life } = yield* begin(seed, shape, options.counts)
    for (let step = 1; step <= options.steps; step++) {
      // In little memory the inner pages of so large a tree would leave no room for leaves.
      yield* shape.size === "roomy" && step % 40 === 0 ? life.overtake : life.next
      if (step % 10 === 0) yield* life.audit
    }
    yield* life.end
  })
