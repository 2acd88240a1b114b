/**
 * A loop that runs a program until nobody in it can go on, within one call: no event loop, no real time, no thread.
 *
 * Crash tests open a store some ten thousand times; a turn of the event loop for each of its steps would be most of what
 * that costs. Tasks run in the order in which they became ready. The clock stands still unless it is told to go on, so a
 * store at rest is one whose timers are all that is left.
 *
 * I1 Equal programs do the same in the same order.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scheduler from "effect/Scheduler"

type Task = () => void

interface Sleeper {
  readonly at: number
  readonly wake: Task
}

/** Tasks without an end in one call: somebody spins. */
const tasksMost = 1_000_000
/** Where Effect itself takes a fiber off. */
const operationsMost = 2_048

export class CrashLoop implements Scheduler.Scheduler {
  readonly executionMode = "async"
  readonly clock: Clock.Clock
  private ready: Array<Task> = []
  private sleepers: Array<Sleeper> = []
  private millis = 1_000_000

  constructor() {
    this.clock = this.makeClock()
  }

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber.currentOpCount >= operationsMost
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return {
      scheduleTask: (task) => void this.ready.push(task),
      flush: () => this.idle()
    }
  }

  /** Runs whatever can run. */
  idle(): void {
    for (let count = 0; this.ready.length > 0;) {
      const tasks = this.ready
      this.ready = []
      for (let index = 0; index < tasks.length; index++) (tasks[index] as Task)()
      count += tasks.length
      if (count > tasksMost) throw new Error(`no end after ${count} tasks`)
    }
  }

  /** Lets time pass until the next timer fires; false where there is none. */
  pass(): boolean {
    let next: Sleeper | undefined
    for (const sleeper of this.sleepers) if (next === undefined || sleeper.at < next.at) next = sleeper
    if (next === undefined) return false
    this.sleepers.splice(this.sleepers.indexOf(next), 1)
    this.millis = Math.max(this.millis, next.at)
    next.wake()
    this.idle()
    return true
  }

  /** Runs an effect as far as it gets without time; undefined where it waits. Equal seeds draw equal numbers. */
  run<A, E>(effect: Effect.Effect<A, E>, seed: number): Exit.Exit<A, E> | undefined {
    const seeded = effect.pipe(Random.withSeed(seed), Effect.provideService(Clock.Clock, this.clock))
    const fiber = Effect.runFork(seeded, { scheduler: this })
    this.idle()
    return fiber.pollUnsafe()
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

  private sleep(millis: number): Effect.Effect<void> {
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const sleeper = { at: this.millis + millis, wake: () => resume(Effect.void) }
      this.sleepers.push(sleeper)
      return Effect.sync(() => {
        const place = this.sleepers.indexOf(sleeper)
        if (place >= 0) this.sleepers.splice(place, 1)
      })
    })
  }
}
