/**
 * The older of the two checkpoints is as good as the newest: where that is lost, nothing else is.
 *
 * What keeps it whole is spread over the engine: which slot a superblock is written to and when it counts, which slots
 * are free and which log may go. No checkpoint fails where one of these is wrong, and no crash shows it that leaves the
 * newest superblock in place. `HEARTWOOD_SEED=n` replays one seed, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Disk } from "../src/disk/Disk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import { decodeSuperblock, SUPERBLOCK_BYTES } from "../src/log/Superblock.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { figure } from "./support/figures.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { directory, dump, open, perform, quiesce } from "./support/storeDoor.ts"
import type { State, Step } from "./support/storeModel.ts"
import { play, stateDifference } from "./support/storeModel.ts"
import { passing } from "./support/storeSize.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? [1, 2, 3, 4, 5, 6] : [Number(asked)]
const superblocks = `${directory}/super`
const pageBytes = 1024

const options = {
  limits: {
    pageBytes,
    memoryBytes: 24 * pageBytes,
    stagingBytes: 4 * pageBytes,
    mergeWorkspaces: 1,
    loadsInFlight: 2,
    inlineValueBytes: 100,
    segmentBytes: 4096,
    undurableBytes: 4096,
    checkpoint: { logBytes: 524_288, hardLogBytes: 1_048_576 }
  }
}

const figures = { lost: 0, crashes: 0, unconfirmed: 0 }

/** Some writes; values are large now and then. */
const draw = (chance: Random): ReadonlyArray<Step> =>
  Array.from({ length: 12 }, (): Step => {
    const key = `k${chance.int(60)}`
    if (chance.bool(0.2)) return { _tag: "remove", keyspace: "one", key }
    const value = String(chance.int(10)).repeat(chance.int(chance.bool(0.2) ? 400 : 90))
    return { _tag: "put", keyspace: "one", key, value }
  })

/** Commits that are synced. */
class Work {
  state: State = new Map()
  private readonly chance: Random

  constructor(chance: Random) {
    this.chance = chance
  }

  commits(store: Store.Store["Service"], count: number): Effect.Effect<void, StoreError> {
    const one = Effect.suspend(() => {
      const steps = draw(this.chance)
      const commit = Tx.commit({ durability: "synced" })(perform(steps, []))
      return Effect.map(Effect.provideService(commit, Store.Store, store), () => {
        this.state = play(this.state, steps).state
      })
    })
    return Effect.repeat(one, { times: count - 1 })
  }
}

/** Where the superblock stands that the store would be opened from. */
const newestSlot = (image: Image): 0 | 1 => {
  const bytes = Buffer.from(image.read(superblocks) ?? new Uint8Array(0))
  const version = (slot: 0 | 1): number => {
    const at = slot * SUPERBLOCK_BYTES
    const decoded = decodeSuperblock(bytes.subarray(at, at + SUPERBLOCK_BYTES), slot)
    return decoded._tag === "Valid" ? decoded.superblock.version : 0
  }
  return version(0) > version(1) ? 0 : 1
}

/** What a store holds that is opened on an image, after `damage`. */
const found = (
  image: Image,
  damage: (faults: FaultDisk["Service"]) => Effect.Effect<void>
): Effect.Effect<State, StoreError> =>
  Effect.gen(function*() {
    yield* damage(yield* FaultDisk)
    const { close, store } = yield* open(options)
    const state = yield* dump(store, ["one"])
    yield* Effect.raceFirst(close, passing)
    // What had to be rebuilt was not kept.
    const rebuilt = store.machine.parts.damages.all.filter(({ path }) => path !== superblocks)
    assert.deepStrictEqual(rebuilt, [], "nothing else is damaged")
    return state
  }).pipe(Effect.provide(layer({ image })))

/** A power cut in the midst of each checkpoint and right after it, or rot of its superblock at rest. */
const rotten = (seed: number): Effect.Effect<void, StoreError, Disk | FaultDisk> =>
  Effect.gen(function*() {
    const chance = random(seed)
    const faults = yield* FaultDisk
    const { close, store } = yield* open(options)
    const work = new Work(chance)
    for (let round = 0; round < 8; round++) {
      yield* work.commits(store, 3 + chance.int(6))
      const images: Array<Image> = []
      const shoot = (times: number): void => {
        for (let time = 0; time < times; time++) images.push(faults.crashImage({ seed: chance.int(2 ** 31) }))
      }
      const shots = faults.observe(({ operation, path }) => {
        if (operation === "sync" && !path.includes("/log")) shoot(2)
      })
      yield* Effect.scoped(Effect.andThen(shots, store.checkpoint))
      shoot(2)
      for (const image of images) {
        const state = yield* found(image, () => Effect.void)
        assert.isUndefined(stateDifference(state, work.state), `seed ${seed}, round ${round}: ${image.story}`)
        figures.crashes++
      }
      if (round < 1) continue
      yield* work.commits(store, 1 + chance.int(3))
      yield* quiesce(faults.operations)
      const image = faults.killImage()
      const bit = (newestSlot(image) * SUPERBLOCK_BYTES + chance.int(160)) * 8 + chance.int(8)
      const state = yield* found(image, (other) => other.flip(superblocks, bit))
      assert.isUndefined(stateDifference(state, work.state), `seed ${seed}, round ${round}`)
      figures.lost++
    }
    yield* Effect.raceFirst(close, passing)
  })

/**
 * The process dies after it wrote a superblock and before that was synced; the next one opens what the page cache has,
 * and then the power goes.
 */
const unconfirmed = (seed: number): Effect.Effect<void, StoreError, Disk | FaultDisk> =>
  Effect.gen(function*() {
    const chance = random(seed)
    const faults = yield* FaultDisk
    const work = new Work(chance)
    const first = yield* open(options)
    for (let round = 0; round < 2; round++) {
      yield* work.commits(first.store, 8)
      yield* first.store.checkpoint
    }
    yield* work.commits(first.store, 8)
    yield* faults.fail({ operation: "sync", path: superblocks, outcome: { _tag: "Hung" } })
    yield* Effect.forkChild(Effect.exit(first.store.checkpoint), { startImmediately: true })
    yield* quiesce(faults.operations)
    yield* faults.kill
    yield* Effect.raceFirst(first.close, passing)
    yield* faults.restart
    yield* faults.heal
    const second = yield* open(options)
    yield* quiesce(faults.operations)
    for (let crash = 0; crash < 30; crash++) {
      const image = faults.crashImage({ seed: chance.int(2 ** 31) })
      const state = yield* found(image, () => Effect.void)
      assert.isUndefined(stateDifference(state, work.state), `seed ${seed}, crash ${crash}: ${image.story}`)
      figures.unconfirmed++
    }
    yield* Effect.raceFirst(second.close, passing)
  })

describe("the older checkpoint", () => {
  for (const seed of seeds) {
    it.effect(
      `has all that was committed where the newest is lost (seed ${seed})`,
      () => Effect.provide(rotten(seed), layer({ seed })),
      60_000
    )
    it.effect(
      `is whole until the newest is durable, whoever wrote that (seed ${seed})`,
      () => Effect.provide(unconfirmed(seed), layer({ seed })),
      60_000
    )
  }

  it("was needed often", () => {
    figure("X2 superblocks that are lost", figures)
    if (asked !== undefined) return
    assert.isAtLeast(figures.lost, 40)
    assert.isAtLeast(figures.unconfirmed, 150)
  })
})
