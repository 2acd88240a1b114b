/**
 * One schedule: a store, some fibers that transact beside each other, crashes among them, and the history of it all.
 *
 * Everything is drawn from one seed: options, bodies, the order of fibers, how long the disk takes, when it dies and
 * what is left of it then.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
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
import { drawFault, forgives } from "./simulationFaults.ts"
import { allKeyspaces, WholeWorkload } from "./simulationWorkload.ts"
import { slowed } from "./slowDisk.ts"
import type { Opened } from "./storeDoor.ts"
import { dumpAt, open } from "./storeDoor.ts"
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
  /** Transactions written as pieces, records that were removed because they had expired, values moved in the log. */
  readonly pieces: number
  readonly swept: number
  readonly moved: number
  /** Writes and syncs that the disk refused, and logs that this was the end of. */
  readonly refusals: number
  readonly poisoned: number
}

/** A fault that is planted into a store or its disk, for the checkers to find. */
export interface Sabotage {
  /** What the fibers get instead of the store. */
  readonly store?: (store: Store["Service"]) => Store["Service"]
  readonly disk?: (faults: FaultDisk["Service"]) => Effect.Effect<void>
}

/**
 * How much of the store takes part: transactions over a few small records, or everything, on a disk that now and then
 * refuses something.
 */
export type Part = "transactions" | "everything"

/** Runs a seed to its end. Throws where the store fails without a cause, or never ends. */
export const runSchedule = (seed: number, sabotage: Sabotage = {}, part: Part = "transactions"): Ran => {
  const schedule = new Schedule(seed)
  const program = Effect.gen(function*() {
    const run = new Run(schedule, yield* FaultDisk, yield* Disk, sabotage, part)
    yield* run.all
    const image = run.faults.killImage().digest()
    const { conflicts, counts, crashes, recorder } = run
    return { history: recorder.lives, trace: schedule.trace, image, conflicts, crashes, ...counts }
  })
  const exit = schedule.run(Effect.provide(program, Layer.merge(layer({ seed }), Logger.layer([]))))
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
  readonly counts = { pieces: 0, swept: 0, moved: 0, refusals: 0, poisoned: 0 }
  private readonly part: Part
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

  constructor(
    schedule: Schedule,
    faults: FaultDisk["Service"],
    disk: Disk["Service"],
    sabotage: Sabotage,
    part: Part
  ) {
    this.schedule = schedule
    this.sabotage = sabotage
    this.part = part
    this.chance = schedule.chance
    this.faults = faults
    this.disk = slowed(disk, schedule.pause, this.operation, (path) => this.refused(path))
    const isAll = part === "everything"
    const { limits, ...options } = optionsOf(this.chance, {
      size: "tight",
      buffer: this.chance.bool(0.3) ? "pages" : "miniPages",
      transactions: isAll && this.chance.bool(0.7) ? "pieces" : "whole"
    })
    // Time may pass faster here than any transaction is written.
    const sweeps = isAll ? { sweepMillis: this.chance.pick([3, 30]), streamAgeMillis: 86_400_000 } : {}
    const markDelayMillis = this.chance.pick([1, 20])
    this.options = { ...options, limits: { ...limits, markDelayMillis, ...sweeps } }
    this.workload = new (isAll ? WholeWorkload : Workload)(this.chance)
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
    const watchedStore = watched(this.sabotage.store?.(store) ?? store)
    const whole = this.part === "everything" ? { forgives, holds: "across checkpoints" as const } : {}
    const options = { schedule, recorder, workload, store: watchedStore, ...whole }
    if (isFirst) yield* new Worker(options).begin(workload.start(this.chance.bool(0.1) ? 60 : 0))
    if (isFirst) yield* this.sabotage.disk?.(this.faults) ?? Effect.void
    this.doom ??= this.drawDoom()
    if (this.part === "everything") yield* this.arm
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
    this.count(store.machine)
    if (!recorder.isBroken && this.chance.bool(0.2)) yield* this.trip
    yield* close
    this.serving = false
    yield* this.faults.heal
    yield* this.revive
  })

  /** The disk will refuse something, or nothing. */
  private readonly arm: Effect.Effect<void> = Effect.suspend(() => {
    const faults = Array.from({ length: this.chance.pick([0, 1, 1, 3]) }, () => drawFault(this.chance))
    return Effect.forEach(faults, (fault) => this.faults.fail(fault), { discard: true })
  })

  private count({ parts: { expiry, relocation, wal } }: Store["Service"]["machine"]): void {
    this.counts.pieces += wal.streams.counters.pieces
    this.counts.swept += expiry.counters.removed
    this.counts.moved += relocation.counters.values
  }

  /** Of the log, that is the end: what was not durable by now may be lost, and nobody commits any more. */
  private refused(path: string): void {
    if (this.died || this.part !== "everything") return
    this.counts.refusals++
    if (!this.serving || !path.includes("/log-")) return
    this.counts.poisoned++
    // It may have been closing already.
    this.recorder.breaks("cut")
  }

  private drawDoom(): Doom | undefined {
    const end = this.chance.pick<End>(["closed", "closed", "cut", "cut", "killed"])
    return end === "closed" ? undefined : { end, left: this.chance.int(60) }
  }

  /** Opens the store, as often as it takes if the disk dies meanwhile, and notes what is found. */
  private readonly opened: Effect.Effect<Opened, StoreError> = Effect.suspend(() => {
    const again = Effect.suspend(() => Effect.andThen(this.revive, this.opened))
    return Effect.matchEffect(Effect.provideService(open(this.options), Disk, this.disk), {
      onSuccess: (opened) =>
        Effect.matchEffect(dumpAt(opened.store, this.part === "everything" ? allKeyspaces : keyspaces), {
          // In one step: the disk may die between any two.
          onSuccess: (seen) =>
            Effect.suspend(() => {
              if (this.died) return Effect.andThen(opened.close, again)
              this.begin(seen)
              return Effect.succeed(opened)
            }),
          onFailure: (error) => this.died ? Effect.andThen(opened.close, again) : Effect.fail(error)
        }),
      onFailure: (error) => this.died ? again : Effect.fail(error)
    })
  })

  private begin({ found, now }: { readonly found: State; readonly now: number }): void {
    this.serving = true
    this.recorder.open(found, now)
    this.schedule.note(JSON.stringify([...found]))
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
