/**
 * One case, every store: what must come out the same whatever memory a store has and however it keeps pages there.
 *
 * Each configuration runs in two lives: *fresh*, where all happens in one, and *reopened*, where the store is closed
 * and opened again at every pause of the case. Cases draw from the same seed everywhere, and what they see must be the
 * same everywhere. `HEARTWOOD_SEED=n` replays one seed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { crc32 } from "node:zlib"
import { Disk } from "../../src/disk/Disk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { Twin } from "./oracle.ts"
import type { Row } from "./oracle.ts"
import type { Random } from "./random.ts"
import { random } from "./random.ts"
import { open } from "./storeDoor.ts"
import type { Options } from "./stores.ts"
import { memory, small } from "./stores.ts"

export interface Configuration {
  readonly name: "tiny" | "normal" | "pages"
  readonly options: Options
}

/**
 * Tiny: room for a path of inner pages and a few leaves; twice that of the smallest store. Normal: room for all there
 * is. Pages: what was read or written stays as whole pages. What a buffer keeps is said here and nowhere else.
 */
export const configurations: ReadonlyArray<Configuration> = [
  {
    name: "tiny",
    options: {
      pageSize: "1 KiB",
      memory: "32 KiB",
      segmentSize: "16 KiB",
      checkpoint: { logBytes: "128 KiB" },
      limits: { promotionPercent: 100 }
    }
  },
  { name: "normal", options: small },
  {
    name: "pages",
    options: { buffer: "pages", pageSize: "2 KiB", memory: "64 KiB", segmentSize: "64 KiB" }
  }
]

export const configuration = (name: Configuration["name"]): Configuration =>
  configurations.find((each) => each.name === name) as Configuration

export type Life = "fresh" | "reopened"

/** What a case has beside the store. */
export interface World {
  readonly configuration: Configuration
  readonly life: Life
  /** The same numbers in every configuration. */
  readonly chance: Random
  readonly disk: Disk["Service"]
  /** Handles to the disk, of a case that asked for one that fails. */
  readonly faults: () => FaultDisk["Service"]
  /** Where one life ends: the store is closed and opened again, if that is how this configuration lives. */
  readonly pause: Effect.Effect<void, StoreError>
  /** The same in every life, with other options where they are given. */
  readonly reopen: (options?: Options) => Effect.Effect<void, StoreError>
  /** Notes what was seen; the same must be seen in every configuration. */
  readonly see: (answer: string) => void
  /** A keyspace with its oracle. */
  readonly twin: (name: string) => Twin
  /** Reads more of another keyspace than a small memory holds, so that what was there before is not there any more. */
  readonly chill: Effect.Effect<void, StoreError, Store.Store>
}

export type Body<E> = (world: World) => Effect.Effect<void, E, Store.Store | Scope.Scope>

const asked = process.env["HEARTWOOD_SEED"]

/** The seed of a case, or the one that was asked for. */
const seedOf = (seed: number): number => asked === undefined ? seed : Number(asked)

/** Runs a body on a store of its own, which it may reopen. */
export const inWorld = <E>(
  configuration: Configuration,
  life: Life,
  see: (answer: string) => void,
  body: Body<E>,
  asked: CaseOptions = {}
): Effect.Effect<void, E | StoreError> =>
  Effect.scoped(Effect.gen(function*() {
    const faulty = asked.disk === "faults" ? yield* Layer.build(layer()) : undefined
    const disk = faulty === undefined ? yield* memory : Context.get(faulty, Disk)
    const limits = { ...configuration.options.limits, ...asked.options?.limits }
    const all: Options = { durability: "memory", ...configuration.options, ...asked.options, limits }
    const opening = (options: Options) => Effect.provideService(open(options), Disk, disk)
    let current = yield* opening(all)
    yield* Effect.addFinalizer(() => Effect.suspend(() => current.close))
    const reopen = (options: Options = all): Effect.Effect<void, StoreError> =>
      Effect.gen(function*() {
        yield* current.close
        current = yield* opening({ ...all, ...options })
      })
    const cold = new Cold(configuration.options.buffer)
    const world: World = {
      configuration,
      life,
      chance: random(seedOf(asked.seed ?? 1)),
      disk,
      faults: () => faulty === undefined ? assert.fail("ask for faults") : Context.get(faulty, FaultDisk),
      pause: Effect.suspend(() => life === "reopened" ? reopen() : Effect.void),
      reopen,
      see,
      twin: (name) => new Twin(name, see),
      chill: Effect.suspend(() => cold.read)
    }
    yield* Effect.provideService(body(world), Store.Store, standing(() => current.store))
  }))

/** The store that is open now, under one name: bodies go on after it was reopened. */
const standing = (current: () => Store.Store["Service"]): Store.Store["Service"] => ({
  get visibleLsn() {
    return current().visibleLsn
  },
  get durableLsn() {
    return current().durableLsn
  },
  get awaitDurable() {
    return current().awaitDurable
  },
  get checkpoint() {
    return current().checkpoint
  },
  get backup() {
    return current().backup
  },
  get events() {
    return current().events
  },
  get pageEvents() {
    return current().pageEvents
  },
  get stat() {
    return current().stat
  },
  get inspect() {
    return current().inspect
  },
  get machine() {
    return current().machine
  }
})

/** Leaves that are looked at so that others are forgotten. */
class Cold {
  private readonly twin = new Twin("cold", () => {})
  private readonly buffer: Options["buffer"]

  constructor(buffer: Options["buffer"]) {
    this.buffer = buffer
  }

  readonly read: Effect.Effect<void, StoreError, Store.Store> = Effect.suspend(() => {
    const rows = Array.from({ length: 300 }, (_, index): Row => [`${1_000 + index}`, "c".repeat(200)])
    const fill = this.twin.oracle.size > 0 ? Effect.void : this.twin.writeIn(50, rows)
    // A scan sends the guests away that were there before; of a page cache it has none, and takes no page away.
    const look = this.buffer === "pages"
      ? this.twin.agreeOn(rows.map(([key]) => key))
      : this.twin.agreeIn({})
    return Effect.andThen(fill, look)
  })
}

export interface CaseOptions {
  readonly options?: Options
  readonly seed?: number
  /** One in memory that does not fail, where nothing is asked for. */
  readonly disk?: "faults"
  /** Where sizes follow the limits of the store, so do the answers; where steps follow its shape, they may be any. */
  readonly answers?: "the same" | "their own" | "any"
}

export interface Case {
  <E>(title: string, body: Body<E>, options?: CaseOptions): void
}

/** Defines the cases of a group once for each configuration and life, and compares what they saw. */
export const everywhere = (
  define: (test: Case, configuration: Configuration) => void,
  which: ReadonlyArray<Configuration> = configurations
): void => {
  const seen = new Map<string, Map<string, number>>()
  for (const configuration of which) {
    for (const life of ["fresh", "reopened"] as const) {
      const place = `${configuration.name}, ${life}`
      const test: Case = (title, body, options = {}) =>
        it.live(title, () => {
          let digest = 0
          const see = (answer: string): void => {
            digest = crc32(Buffer.from(`${answer}\n`, "latin1"), digest)
          }
          return inWorld(configuration, life, see, body, options).pipe(
            Effect.tap(() =>
              Effect.sync(() => {
                if (options.answers === "any") return
                const own = options.answers === "their own" ? `${title}, ${configuration.name}` : title
                seen.set(own, (seen.get(own) ?? new Map<string, number>()).set(place, digest))
              })
            ),
            Effect.catchCause((cause) => {
              const seed = `HEARTWOOD_SEED=${seedOf(options.seed ?? 1)}`
              return Effect.die(new Error(`${place}, ${seed}: ${cause}`, { cause }))
            })
          )
        })
      describe(place, () => define(test, configuration))
    }
  }
  it("gave the same answers everywhere", () => {
    assert.isAbove(seen.size, 0)
    for (const [title, digests] of seen) {
      assert.strictEqual(new Set(digests.values()).size, 1, `${title}: ${JSON.stringify([...digests])}`)
    }
  })
}
