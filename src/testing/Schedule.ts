/**
 * One seed, one interleaving: a scheduler, a clock and a loop in which nothing happens that the seed did not decide.
 *
 * The scheduler chooses which ready task runs next and where a fiber is taken off in the middle of its work; the clock
 * stands still until nothing is ready (or, so that timers fire early, at random). The loop runs a program to its end
 * within one call: no event loop, no real time, no thread takes part, so a seed replays a whole run. `TestClock` was
 * rejected: it warns by a real timer and waits by real turns of the event loop.
 *
 * I1 Every decision goes into the trace, so that runs with equal traces did the same in the same order.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scheduler from "effect/Scheduler"
import type { Chance } from "./Chance.ts"
import { make } from "./Chance.ts"

/** Milliseconds in which nobody had anything to do, after which a program is taken to never end. */
const idleMillisMost = 24 * 3_600_000
/** Timers that are further away are seldom fired early, or never, so that time does not pass for its own sake. */
const soonMillis = 1_000
const farMillis = 600_000
/** Where Effect itself takes a fiber off. */
const operationsMost = 2_048

type Task = () => void

interface Sleeper {
  readonly at: number
  readonly wake: Task
}

/** How a schedule is drawn: some seeds tear everything apart, others leave most of it in order. */
export interface Manner {
  /** Operations of fibers between two preemptions, on average. */
  readonly preemptEvery: number
  /** Of the tasks that are ready: any, or most often the one that waits longest or shortest. */
  readonly pick: "any" | "oldest" | "newest" | "always oldest"
  /** How likely a timer fires although there is work to do. */
  readonly hurry: number
}

/** Nobody is taken off, everybody has his turn, and time passes when nobody has anything to do. */
export const calm: Manner = { preemptEvery: Infinity, pick: "always oldest", hurry: 0 }

const mannerOf = (chance: Chance): Manner => ({
  preemptEvery: chance.pick([Infinity, 300, 40, 8]),
  pick: chance.pick(["any", "any", "oldest", "newest"]),
  hurry: chance.pick([0.001, 0.01, 0.1])
})

/** A program has not ended under its schedule, or has left something behind. */
export class Stuck extends Data.TaggedError("Stuck")<{ readonly seed: number; readonly what: string }> {
  override get message(): string {
    return `Under the schedule of seed ${this.seed} ${this.what}`
  }
}

export interface Options {
  /** What the clock shows at first, in milliseconds since 1970. Default 1,000,000. */
  readonly millis?: number
  /** Decisions after which a program is taken to never end. Default 1,000,000. */
  readonly decisions?: number
  /** Drawn from the seed where absent. */
  readonly manner?: Manner
}

/**
 * Runs programs that consist of Effects alone: everything that they wait for is a fiber, a clock or a disk in memory.
 * Within one, `Clock` is the schedule's and `Random` is seeded.
 */
export class Schedule implements Scheduler.Scheduler {
  readonly executionMode = "async"
  /** For whatever else of the run is left to chance. */
  readonly chance: Chance
  readonly clock: Clock.Clock
  private readonly seed: number
  private readonly decisionsMost: number
  private readonly manner: Manner
  private readonly ready: Array<Task> = []
  /** The earliest is the last. */
  private readonly sleepers: Array<Sleeper> = []
  private readonly low = new Uint32Array([0x811c9dc5])
  private readonly high = new Uint32Array([0x9e3779b9])
  private millis: number
  private idleMillis = 0
  private decisions = 0
  private untilPreempted: number

  constructor(seed: number, options: Options = {}) {
    this.seed = seed
    this.millis = options.millis ?? 1_000_000
    this.decisionsMost = options.decisions ?? 1_000_000
    this.chance = make(seed)
    this.manner = options.manner ?? mannerOf(this.chance)
    this.untilPreempted = this.nextPreemption()
    this.clock = this.makeClock()
  }

  /** Hash of every decision and of everything that was noted. */
  get trace(): string {
    return [this.high[0], this.low[0]].map((half) => (half as number).toString(16).padStart(8, "0")).join("")
  }

  /** Adds to the trace. */
  note(what: number | string): void {
    if (typeof what === "number") return this.mix(what)
    for (let index = 0; index < what.length; index++) this.mix(what.charCodeAt(index))
  }

  private mix(word: number): void {
    this.low[0] = Math.imul((this.low[0] as number) ^ word, 0x01000193)
    this.high[0] = Math.imul((this.high[0] as number) + word | 0, 0x85ebca6b) ^ (this.low[0] as number) >>> 15
  }

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    if (fiber.currentOpCount >= operationsMost) return true
    // Not at its first: one that was interrupted before it began would begin all the same (`evaluate` in effect's
    // `internal/effect.ts`), and Effect itself never takes a fiber off there.
    if (fiber.currentOpCount < 2) return false
    if (--this.untilPreempted > 0) return false
    this.untilPreempted = this.nextPreemption()
    this.mix(this.untilPreempted)
    return true
  }

  private nextPreemption(): number {
    const { preemptEvery } = this.manner
    return preemptEvery === Infinity ? Infinity : 1 + this.chance.int(2 * preemptEvery)
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return {
      scheduleTask: (task) => void this.ready.push(task),
      flush: () => {
        while (this.ready.length > 0) this.step()
      }
    }
  }

  /** Runs an effect to its end. Throws {@link Stuck} where it can never end, or left something behind. */
  run<A, E>(effect: Effect.Effect<A, E>): Exit.Exit<A, E> {
    const seeded = effect.pipe(
      Random.withSeed(this.seed),
      Effect.provideService(Clock.Clock, this.clock)
    )
    const fiber = Effect.runFork(seeded, { scheduler: this })
    for (let exit = fiber.pollUnsafe(); exit === undefined; exit = fiber.pollUnsafe()) {
      // What repeats itself at intervals goes on although nobody else can.
      if (!this.step() || this.idleMillis > idleMillisMost) {
        throw this.stuck(
          "everybody waits for somebody else: let nothing wait for a promise, a timer of Node or a thread"
        )
      }
    }
    // Fibers that were interrupted last have a word to say yet.
    while (this.ready.length > 0) this.step()
    const exit = fiber.pollUnsafe() as Exit.Exit<A, E>
    const left = this.sleepers.length
    if (Exit.isSuccess(exit) && left > 0) {
      throw this.stuck(`${left} fibers were left asleep: fork them into a scope that ends`)
    }
    return exit
  }

  private stuck(what: string): Stuck {
    return new Stuck({ seed: this.seed, what })
  }

  /** Runs one task, or lets time pass; false where there is neither. */
  private step(): boolean {
    if (++this.decisions > this.decisionsMost) {
      throw this.stuck(`there was no end after ${this.decisionsMost} decisions`)
    }
    const { ready, sleepers } = this
    if (ready.length === 0 || this.hurries()) {
      const sleeper = sleepers.pop()
      if (sleeper === undefined) return false
      if (ready.length === 0) this.idleMillis += sleeper.at - this.millis
      this.millis = Math.max(this.millis, sleeper.at)
      this.mix(-1)
      this.mix(this.millis)
      sleeper.wake()
      return true
    }
    const index = this.pick(ready.length)
    this.mix(index)
    const [task] = ready.splice(index, 1)
    task?.()
    return true
  }

  /** Whether the next timer fires before its time, as far as those are concerned that have work to do. */
  private hurries(): boolean {
    const next = this.sleepers.at(-1)
    if (next === undefined || !this.chance.bool(this.manner.hurry)) return false
    const left = next.at - this.millis
    return left < soonMillis || (left < farMillis && this.chance.bool(0.02))
  }

  private pick(count: number): number {
    const { chance, manner: { pick } } = this
    if (count === 1 || pick === "always oldest") return 0
    if (pick === "any" || chance.bool(0.1)) return chance.int(count)
    return pick === "oldest" ? 0 : count - 1
  }

  private sleep(millis: number): Effect.Effect<void> {
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const sleeper = { at: this.millis + millis, wake: () => resume(Effect.void) }
      const { sleepers } = this
      let index = sleepers.length
      while (index > 0 && (sleepers[index - 1] as Sleeper).at <= sleeper.at) index--
      sleepers.splice(index, 0, sleeper)
      return Effect.sync(() => {
        const place = sleepers.indexOf(sleeper)
        if (place >= 0) sleepers.splice(place, 1)
      })
    })
  }

  private makeClock(): Clock.Clock {
    const nanos = (): bigint => BigInt(this.millis) * 1_000_000n
    return {
      currentTimeMillisUnsafe: () => this.millis,
      currentTimeMillis: Effect.sync(() => this.millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: nanos,
      monotonicTimeNanos: Effect.sync(nanos),
      sleep: (duration) => this.sleep(Duration.toMillis(duration))
    }
  }

  /** Lets others run, or time pass, for a while that the seed decides. */
  readonly pause: Effect.Effect<void> = Effect.suspend(() => {
    const kind = this.chance.int(8)
    if (kind < 3) return Effect.void
    if (kind === 7) return Effect.sleep(1 + this.chance.int(8))
    return Effect.repeat(Effect.yieldNow, { times: kind - 3 })
  })
}
