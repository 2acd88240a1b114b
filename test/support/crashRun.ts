/**
 * A workload on a disk that fails, run from its seed; what a crash may leave is taken at every operation.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Disk } from "../../src/disk/Disk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type { StoreError } from "../../src/StoreError.ts"
import type { Bounds } from "./crashHistory.ts"
import { Chapter, keyspaces, wrongIn } from "./crashHistory.ts"
import type { CrashLife, Names } from "./crashLife.ts"
import { live } from "./crashLife.ts"
import { Shots } from "./crashShots.ts"
import type { Work } from "./crashWork.ts"
import { Schedule } from "./schedule.ts"
import { slowed } from "./slowDisk.ts"
import { dump } from "./storeDoor.ts"
import type { Options } from "./storeSize.ts"

type Pending = { readonly power: Bounds; readonly kill: Bounds }

export interface Ran {
  readonly work: Work
  readonly seed: number
  readonly options: Options
  readonly shots: Shots
  readonly commits: number
  /** Lives that a power cut ended, or the death of the process. */
  readonly cuts: number
  readonly kills: number
}

/** What a test does to the disk, or looks at, while a workload runs. */
export interface Beside {
  /** Runs when the first life is prepared. */
  readonly before?: (faults: FaultDisk["Service"], life: CrashLife) => Effect.Effect<void>
  /** Called before each operation, as an observer of the disk. */
  readonly observe?: Parameters<FaultDisk["Service"]["observe"]>[0]
  /** Takes states at each operation with this probability; default 1. */
  readonly rate?: number
  /** Whether the workload may fail, as the disk makes it. */
  readonly failing?: "allowed"
}

class Run {
  readonly shots: Shots
  readonly options: Options
  commits = 0
  cuts = 0
  kills = 0
  private readonly work: Work
  private readonly schedule: Schedule
  private readonly faults: FaultDisk["Service"]
  private readonly disk: Disk["Service"]
  private readonly beside: Beside
  private readonly names: Names = { count: 0 }
  private life: CrashLife | undefined
  /** What may be found while no life has begun. */
  private pending: Pending
  private watching = true
  /** Operations until this life ends. */
  private left = Infinity

  constructor(
    options: {
      readonly work: Work
      readonly seed: number
      readonly schedule: Schedule
      readonly beside: Beside
    },
    faults: FaultDisk["Service"],
    disk: Disk["Service"]
  ) {
    const { beside, schedule, seed, work } = options
    this.work = work
    this.schedule = schedule
    this.beside = beside
    this.faults = faults
    this.disk = slowed(disk, schedule.pause, this.operation)
    this.options = work.options(schedule.chance)
    this.pending = new Chapter(new Map()).bounds(0)
    this.shots = new Shots({
      seed,
      rate: beside.rate ?? 1,
      bounds: () => {
        if (!this.watching) return undefined
        return this.life === undefined ? this.pending : this.life.chapter.bounds(this.life.durableLsn)
      }
    })
  }

  readonly all: Effect.Effect<void, StoreError> = Effect.suspend(() =>
    Effect.scoped(Effect.gen({ self: this }, function*() {
      const { beside, faults, work } = this
      yield* faults.observe(this.shots.observer(faults))
      if (beside.observe !== undefined) yield* faults.observe(beside.observe)
      for (let number = 1; number <= work.lives; number++) {
        const life = yield* this.begin
        if (number === 1) yield* this.prepare(life)
        if (number < work.lives) this.left = 1 + this.schedule.chance.int(60)
        const exit = yield* Effect.exit(work.body(life))
        if (this.life !== undefined && Exit.isFailure(exit) && beside.failing === undefined) {
          return yield* exit
        }
        if (number < work.lives && this.life !== undefined) yield* this.trip
        yield* life.close
        this.commits += life.chapter.last
        this.left = Infinity
        yield* faults.restart
      }
    }))
  )

  private readonly begin: Effect.Effect<CrashLife, StoreError> = Effect.suspend(() => {
    const { names, schedule: { chance }, work: { drawing } } = this
    const beginning = { chance, drawing, names, chapter: new Chapter(new Map()) }
    const opened = Effect.provideService(live(this.options, beginning), Disk, this.disk)
    return Effect.flatMap(opened, (life) =>
      Effect.map(dump(life.store, keyspaces), (found) => {
        const wrong = wrongIn(this.pending.kill, found)
        if (wrong !== undefined) throw new Error(`a life began with ${wrong}`)
        const begun = life.at(new Chapter(found))
        this.life = begun
        return begun
      }))
  })

  private prepare(life: CrashLife): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      this.watching = false
      yield* this.work.prepare(life)
      if (this.beside.before !== undefined) yield* this.beside.before(this.faults, life)
      this.watching = true
    })
  }

  private readonly operation: Effect.Effect<void> = Effect.suspend(() =>
    --this.left > 0 ? Effect.void : this.trip
  )

  /** This life ends now. */
  private readonly trip: Effect.Effect<void> = Effect.suspend(() => {
    const { faults, life, schedule: { chance } } = this
    this.left = Infinity
    if (life === undefined) return Effect.void
    const { kill, power } = life.chapter.bounds(life.durableLsn)
    this.life = undefined
    if (chance.bool(0.5)) {
      this.kills++
      this.pending = { kill, power }
      return faults.kill
    }
    this.cuts++
    this.pending = { kill: power, power }
    return faults.cut({ seed: chance.int(2 ** 31) })
  })
}

/** Runs a workload. Throws where the store fails without a cause. */
export const runWork = (work: Work, seed: number, beside: Beside = {}): Ran => {
  const schedule = new Schedule(seed)
  const program = Effect.gen(function*() {
    const run = new Run({ work, seed, schedule, beside }, yield* FaultDisk, yield* Disk)
    yield* run.all
    return run
  })
  const exit = schedule.run(Effect.provide(program, layer({ seed })))
  if (Exit.isFailure(exit)) throw new Error(`${work.title}, seed ${seed}: ${exit.cause}`)
  const { commits, cuts, kills, options, shots } = exit.value
  return { work, seed, options, shots, commits, cuts, kills }
}
