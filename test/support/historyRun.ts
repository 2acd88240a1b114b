/**
 * One schedule: a store, some fibers that transact beside each other, crashes among them, and the history of it all.
 *
 * Everything is drawn from one seed: options, bodies, the order of fibers, how long the disk takes, when it dies and
 * what is left of it then.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Disk } from "../../src/disk/Disk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type { Store } from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import type { End, History } from "./history.ts"
import { Recorder, watched } from "./history.ts"
import { Worker } from "./historyWorker.ts"
import { keyspaces, Workload } from "./historyWorkload.ts"
import type { Random } from "./random.ts"
import { Schedule } from "./schedule.ts"
import { slowed } from "./slowDisk.ts"
import type { Opened } from "./storeDoor.ts"
import { dump, open } from "./storeDoor.ts"
import type { State } from "./storeModel.ts"
import type { Options } from "./storeSize.ts"
import { optionsOf } from "./storeSize.ts"

export interface Ran {
  readonly history: History
  /** Hash of every decision and every event. */
  readonly trace: string
  /** Hash of all files. */
  readonly image: string
  readonly conflicts: number
  readonly crashes: number
}

/** A fault that is planted into a store or its disk, for the checkers to find. */
export interface Sabotage {
  /** What the fibers get instead of the store. */
  readonly store?: (store: Store["Service"]) => Store["Service"]
  readonly disk?: (faults: FaultDisk["Service"]) => Effect.Effect<void>
}

/** Runs a seed to its end. Throws where the store fails without a cause, or never ends. */
export const runSchedule = (seed: number, sabotage: Sabotage = {}): Ran => {
  const schedule = new Schedule(seed)
  const program = Effect.gen(function*() {
    const run = new Run(schedule, yield* FaultDisk, yield* Disk, sabotage)
    yield* run.all
    const image = run.faults.killImage().digest()
    const { conflicts, crashes, recorder } = run
    return { history: recorder.lives, trace: schedule.trace, image, conflicts, crashes }
  })
  const exit = schedule.run(Effect.provide(program, layer({ seed })))
  if (Exit.isFailure(exit)) throw new Error(`the schedule failed: ${exit.cause}`)
  return exit.value
}

/** What ends a life early, and when. */
interface Doom {
  readonly end: End
  /** Operations of the disk until then. */
  left: number
}

class Run {
  readonly faults: FaultDisk["Service"]
  readonly recorder = new Recorder()
  conflicts = 0
  crashes = 0
  private readonly schedule: Schedule
  private readonly sabotage: Sabotage
  private readonly chance: Random
  private readonly disk: Disk["Service"]
  private readonly options: Options
  private readonly workload: Workload
  private doom: Doom | undefined
  /** Whether a life has begun that is not over. */
  private serving = false
  /** Whether the disk has died and was not restarted yet. */
  private died = false

  constructor(schedule: Schedule, faults: FaultDisk["Service"], disk: Disk["Service"], sabotage: Sabotage) {
    this.schedule = schedule
    this.sabotage = sabotage
    this.chance = schedule.chance
    this.faults = faults
    this.disk = slowed(disk, schedule.pause, this.operation)
    const { limits, ...options } = optionsOf(this.chance, {
      size: "tight",
      buffer: this.chance.bool(0.3) ? "pages" : "miniPages",
      transactions: "whole"
    })
    this.options = { ...options, limits: { ...limits, markDelayMillis: this.chance.pick([1, 20]) } }
    this.workload = new Workload(this.chance)
  }

  readonly all: Effect.Effect<void, StoreError> = Effect.gen({ self: this }, function*() {
    const lives = this.chance.pick([1, 2, 2, 3])
    for (let life = 0; life < lives; life++) yield* this.life
    this.doom = undefined
    const { close } = yield* this.opened
    yield* close
  })

  /** One life of the store, with whatever ends it. */
  private readonly life: Effect.Effect<void, StoreError> = Effect.gen({ self: this }, function*() {
    const isFirst = this.recorder.lives.length === 0
    if (!isFirst && this.chance.bool(0.15)) this.doom = { end: "cut", left: this.chance.int(40) }
    const { close, store } = yield* this.opened
    const { recorder, schedule, workload } = this
    const options = { schedule, recorder, workload, store: watched(this.sabotage.store?.(store) ?? store) }
    if (isFirst) yield* new Worker(options).begin(workload.start(this.chance.bool(0.1) ? 60 : 0))
    if (isFirst) yield* this.sabotage.disk?.(this.faults) ?? Effect.void
    this.doom ??= this.drawDoom()
    const workers = yield* Effect.forEach(
      Array.from({ length: 2 + this.chance.int(4) }),
      (_, index) => {
        const name = this.chance.bool(0.2) ? `session ${index}` : undefined
        return Effect.forkChild(new Worker(options).work(1 + this.chance.int(4), name))
      }
    )
    const closing = this.chance.bool(0.08) ? yield* Effect.forkChild(this.closeAmid(close)) : undefined
    yield* Effect.forEach(workers, Fiber.join)
    if (closing !== undefined) yield* Fiber.join(closing)
    this.conflicts += store.machine.parts.wal.counters.conflicts
    if (!recorder.isBroken && this.chance.bool(0.2)) yield* this.trip
    yield* close
    this.serving = false
    yield* this.revive
  })

  private drawDoom(): Doom | undefined {
    const end = this.chance.pick<End>(["closed", "closed", "cut", "cut", "killed"])
    return end === "closed" ? undefined : { end, left: this.chance.int(60) }
  }

  /** Opens the store, as often as it takes if the disk dies meanwhile, and notes what is found. */
  private readonly opened: Effect.Effect<Opened, StoreError> = Effect.suspend(() => {
    const again = Effect.suspend(() => Effect.andThen(this.revive, this.opened))
    return Effect.matchEffect(Effect.provideService(open(this.options), Disk, this.disk), {
      onSuccess: (opened) =>
        Effect.matchEffect(dump(opened.store, keyspaces), {
          onSuccess: (found) => this.died ? Effect.andThen(opened.close, again) : this.begun(opened, found),
          onFailure: (error) => this.died ? Effect.andThen(opened.close, again) : Effect.fail(error)
        }),
      onFailure: (error) => this.died ? again : Effect.fail(error)
    })
  })

  private begun(opened: Opened, found: State): Effect.Effect<Opened> {
    return Effect.sync(() => {
      this.serving = true
      this.recorder.open(found)
      this.schedule.note(JSON.stringify([...found]))
      return opened
    })
  }

  private readonly revive: Effect.Effect<void> = Effect.suspend(() => {
    this.died = false
    this.doom = undefined
    return this.faults.restart
  })

  /** Before every operation of the disk. */
  private readonly operation: Effect.Effect<void> = Effect.suspend(() =>
    this.doom === undefined || --this.doom.left > 0 ? Effect.void : this.trip
  )

  /** The end comes now. */
  private readonly trip: Effect.Effect<void> = Effect.suspend(() => {
    const end = this.doom?.end ?? this.chance.pick<End>(["cut", "killed"])
    this.doom = undefined
    this.crashes++
    this.died = true
    this.schedule.note(end)
    if (this.serving) this.recorder.breaks(end)
    // What a dead process left to the system is lost with the power.
    else if (this.recorder.lives.at(-1)?.end === "killed") this.recorder.worsens(end)
    return end === "killed" ? this.faults.kill : this.faults.cut({ seed: this.chance.int(2 ** 31) })
  })

  private closeAmid(close: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.repeat(this.schedule.pause, { times: this.chance.int(12) }).pipe(
      Effect.andThen(Effect.suspend(() => {
        this.recorder.breaks("closed")
        return close
      }))
    )
  }
}
