/**
 * Snapshots that stay open while others write, and what each of them must go on to show.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import type { Random } from "./random.ts"
import type { Look } from "./storeDoor.ts"
import { contents, look } from "./storeDoor.ts"
import type { Draw, State } from "./storeModel.ts"
import { compare, play, stateDifference } from "./storeModel.ts"
import type { Tally } from "./storeSize.ts"
import { names } from "./storeSize.ts"

interface Held {
  readonly snapshot: Snapshot.Snapshot["Service"]
  readonly state: State
  readonly latch: Deferred.Deferred<void>
  readonly fiber: Fiber.Fiber<void, StoreError>
}

export interface Options {
  readonly chance: Random
  readonly draw: Draw
  readonly counts: Tally
}

export class Readers {
  private readonly options: Options
  private readonly held: Array<Held> = []

  constructor(options: Options) {
    this.options = options
  }

  /** Opens a snapshot that stays while others write: of what the store is now, or at an older one's LSN. */
  hold(store: Store.Store["Service"], state: State): Effect.Effect<void, StoreError> {
    const { chance, counts } = this.options
    if (this.held.length >= 4) return this.read
    const past = chance.bool(0.3) && this.held.length > 0 ? chance.pick(this.held) : undefined
    return Effect.gen({ self: this }, function*() {
      const latch = yield* Deferred.make<void>()
      const taken = yield* Deferred.make<Snapshot.Snapshot["Service"]>()
      const body = Snapshot.Snapshot.use((snapshot) =>
        Effect.andThen(Deferred.succeed(taken, snapshot), Deferred.await(latch))
      )
      const options = past === undefined ? {} : { at: past.snapshot.at }
      const reading = Effect.provideService(Snapshot.read(options)(body), Store.Store, store)
      const fiber = yield* Effect.forkDetach(reading, { startImmediately: true })
      const snapshot = yield* Deferred.await(taken)
      counts.snapshots++
      this.held.push({ snapshot, state: past?.state ?? state, latch, fiber })
    })
  }

  /** Looks at one of them. */
  readonly read: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    if (this.held.length === 0) return Effect.void
    const { chance, draw } = this.options
    const { snapshot, state } = chance.pick(this.held)
    const steps = Array.from({ length: 3 }, () => draw.look() as Look)
    const whole = chance.bool(0.3)
    return Effect.gen(function*() {
      const results = yield* Effect.provideService(Effect.forEach(steps, look), Snapshot.Snapshot, snapshot)
      compare(`at ${snapshot.at}`, results, play(state, steps).results)
      if (!whole) return
      const found = yield* Effect.provideService(contents(names), Snapshot.Snapshot, snapshot)
      const differs = stateDifference(found, state)
      if (differs !== undefined) throw new Error(`at ${snapshot.at}: ${differs}`)
    })
  })

  letGo(index: number): Effect.Effect<void, StoreError> {
    const [held] = this.held.splice(index, 1)
    if (held === undefined) return Effect.void
    return Effect.andThen(Deferred.succeed(held.latch, undefined), Fiber.join(held.fiber))
  }

  readonly letAllGo: Effect.Effect<void, StoreError> = Effect.suspend(() =>
    this.held.length === 0 ? Effect.void : Effect.andThen(this.letGo(0), this.letAllGo)
  )
}
