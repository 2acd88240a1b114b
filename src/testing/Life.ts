/**
 * One life of a program on a disk that fails, under a schedule, from one seed: to look at it from outside, before
 * every operation that changes the disk.
 *
 * Equal settings give equal lives. Nothing is tried twice here, and nothing is judged.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type { Disk } from "../disk/Disk.ts"
import * as Fault from "../disk/FaultDisk.ts"
import { FaultDisk } from "../disk/FaultDisk.ts"
import type { Image, Observed } from "../disk/FaultDisk.ts"
import { Schedule, Stuck } from "./Schedule.ts"

/** Operations that only look leave nothing else to be found than those before them. */
const changing = new Set<Observed["operation"]>([
  "open",
  "makeDirectory",
  "rename",
  "unlink",
  "syncDirectory",
  "lock",
  "write",
  "sync",
  "allocate",
  "truncate"
])

/** The world at an instant: before an operation, or after the last. */
export interface Moment {
  /** Of the operation, counted from 1; of the end, one more than the last. */
  readonly number: number
  /** Absent at the end. */
  readonly operation?: Observed
  readonly faults: FaultDisk["Service"]
  /** What the clock shows. */
  readonly millis: number
}

export interface Setting<A, R, E, E2> {
  readonly seed: number
  readonly layer: Layer.Layer<R, E, Disk>
  readonly body: Effect.Effect<A, E2, R | Disk | FaultDisk>
  /** What is on the disk; nothing, if absent. */
  readonly image: Image | undefined
  readonly millis?: number
}

export interface Lived<A, E> {
  readonly exit: Exit.Exit<A, E>
  /** Equal for lives in which the same was decided. */
  readonly trace: string
}

/** Lives to the end, and shows each moment to `look`. Fails only where there is no end. */
export const live = <A, R, E, E2>(
  setting: Setting<A, R, E, E2>,
  look: (moment: Moment) => void
): Effect.Effect<Lived<A, E | E2>, Stuck> =>
  Effect.suspend(() => {
    const { body, image, layer, millis, seed } = setting
    const schedule = new Schedule(seed, millis === undefined ? {} : { millis })
    const now = () => schedule.clock.currentTimeMillisUnsafe()
    const watched = Effect.gen(function*() {
      const faults = yield* FaultDisk
      yield* faults.observe((operation) => {
        schedule.note(operation.operation)
        schedule.note(operation.path)
        if (!changing.has(operation.operation)) return
        look({ number: operation.number, operation, faults, millis: now() })
      })
      const answer = yield* Effect.provide(body, layer, { local: true })
      look({ number: faults.operations() + 1, faults, millis: now() })
      return answer
    })
    const disk = Fault.layer(image === undefined ? { seed } : { seed, image })
    const whole = Effect.scoped(watched).pipe(Effect.provide(disk, { local: true }))
    try {
      const exit = schedule.run(whole as Effect.Effect<A, E | E2>)
      return Effect.succeed({ exit, trace: schedule.trace })
    } catch (cause) {
      return cause instanceof Stuck ? Effect.fail(cause) : Effect.die(cause)
    }
  })
