/**
 * Records with a time to live, against a model that knows the times: in small memories and large ones, with readers
 * that began before, sweeps in between, and lives that end by closing or by a power cut.
 *
 * `HEARTWOOD_SEED=n` replays one seed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import type { Disk } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import type { View } from "../src/View.ts"
import type { Configuration } from "./support/configurations.ts"
import { configurations } from "./support/configurations.ts"
import { modelled } from "./support/modelled.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { valueFor } from "./support/reducers.ts"
import type { Opened } from "./support/storeDoor.ts"
import { open } from "./support/storeDoor.ts"
import { passing } from "./support/storeSize.ts"
import type { Merging, Seen } from "./support/timed.ts"
import { agree, bytes, checkDeadlines, keyspaces, plain, text, Timed } from "./support/timed.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? [1, 2, 3, 4] : [Number(asked)]
const steps = 260

/** A reader of the past, and what it is to see. */
interface Held {
  readonly view: View
  readonly expected: ReadonlyArray<ReadonlyArray<Seen>>
}

const figures = { removed: 0, sweeps: 0, crashes: 0, hidden: 0 }

class Life {
  readonly models = keyspaces.map(() => new Timed())
  readonly keys: ReadonlyArray<string>
  private readonly chance: Random
  private readonly options: Store.Options
  private readonly disk: Context.Context<Disk | FaultDisk>
  private opened: Opened | undefined
  private held: Array<Held> = []

  constructor(seed: number, configuration: Configuration, disk: Context.Context<Disk | FaultDisk>) {
    this.chance = random(seed)
    this.disk = disk
    const count = configuration.name === "tiny" ? 120 : 60
    this.keys = Array.from({ length: count }, (_, index) => `key ${String(index).padStart(3, "0")}`)
    const sweepMillis = [7, 40, 100_000, 7][seed % 4] as number
    const limits = { ...configuration.options.limits, sweepMillis }
    this.options = { path: "/store", ...configuration.options, durability: "synced", limits }
  }

  private store(): Store.Store["Service"] {
    if (this.opened === undefined) return assert.fail("it is closed")
    return this.opened.store
  }

  begin(): Effect.Effect<void, StoreError> {
    return Effect.map(Effect.provideContext(open(this.options), this.disk), (opened) => {
      this.opened = opened
    })
  }

  end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      for (const { view } of this.held.splice(0)) view.release()
      const { removed, sweeps } = this.store().machine.parts.expiry.counters
      figures.removed += removed
      figures.sweeps += sweeps
      // What cannot be written is tried again after a while, and refused in the end.
      return Effect.raceFirst(this.opened?.close ?? Effect.void, passing)
    })
  }

  /** Ends by closing, or by a power cut: everything was acknowledged but removals that nobody can see. */
  private endAnyhow(): Effect.Effect<void> {
    if (this.chance.bool(0.5)) return this.end()
    const faults = Context.get(this.disk, FaultDisk)
    figures.crashes++
    const crash = { seed: this.chance.int(2 ** 31) }
    return Effect.andThen(faults.cut(crash), Effect.andThen(this.end(), faults.restart))
  }

  step(): Effect.Effect<void, StoreError> {
    const { chance } = this
    const dice = chance.next()
    modelled(1)
    if (dice < 0.5) return this.write()
    if (dice < 0.65) return TestClock.adjust(chance.pick([1, 3, 10, 30]))
    if (dice < 0.7) return this.hold()
    if (dice < 0.73) return Effect.asVoid(this.store().checkpoint)
    if (dice < 0.75) return Effect.andThen(this.endAnyhow(), this.begin())
    return this.look()
  }

  private write(): Effect.Effect<void, StoreError> {
    const { chance } = this
    const body = Effect.gen({ self: this }, function*() {
      const now = yield* Clock.currentTimeMillis
      for (let left = 1 + chance.int(4); left > 0; left--) yield* this.writeOne(now)
      // What the body itself sees, while nothing of it is committed.
      if (!chance.bool(0.3)) return
      for (const [index, { keyspace }] of keyspaces.entries()) {
        yield* agree(keyspace, this.keys, (this.models[index] as Timed).at(now), chance)
      }
    })
    return Effect.provideService(Effect.asVoid(Tx.transact()(body)), Store.Store, this.store())
  }

  private writeOne(now: number) {
    const { chance } = this
    const index = chance.int(keyspaces.length)
    const { keyspace, reducer } = keyspaces[index] as (typeof keyspaces)[number]
    const model = this.models[index] as Timed
    const key = chance.pick(this.keys)
    const dice = chance.next()
    if (reducer !== 0 && dice < 0.5) {
      const operand = valueFor(reducer, chance, 24)
      if ((model.get(key, now)?.value.length ?? 0) > 200) return keyspace.get(bytes(key))
      model.merge(reducer, key, text(operand), now)
      return (keyspace as Merging).merge(bytes(key), operand)
    }
    if (dice < 0.6) {
      model.rows.delete(key)
      return keyspace.remove(bytes(key))
    }
    const large = reducer === 0 && chance.bool(0.1)
    const value = large ? chance.bytes(2_000) : valueFor(reducer, chance, 24)
    const ttl = chance.pick([undefined, 1, 5, 20, 60, 300, Infinity, 0, -3])
    if (dice < 0.7 && model.get(key, now) !== undefined) return keyspace.insert(bytes(key), value, { ttl })
    if (ttl !== undefined && ttl <= 0) model.rows.delete(key)
    else model.put(key, text(value), ttl === undefined ? Infinity : now + ttl)
    return dice < 0.8
      ? keyspace.modify(bytes(key), () => [0, Option.some(value)], { ttl })
      : keyspace.put(bytes(key), value, { ttl })
  }

  /** Opens a reader, which will see the same whatever happens. */
  private hold(): Effect.Effect<void, StoreError> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (this.held.length >= 3) {
        const [gone] = this.held.splice(this.chance.int(3), 1)
        gone?.view.release()
      }
      const view = Snapshot.open(this.store().machine, "read")
      if (Exit.isExit(view)) return view
      this.held.push({ view, expected: this.models.map((model) => model.at(now)) })
      return Effect.void
    })
  }

  look(): Effect.Effect<void, StoreError> {
    const { chance } = this
    return Effect.gen({ self: this }, function*() {
      const now = yield* Clock.currentTimeMillis
      const { machine } = this.store()
      checkDeadlines(machine.tree.pages)
      for (const [index, { keyspace }] of keyspaces.entries()) {
        const model = this.models[index] as Timed
        figures.hidden += model.rows.size - model.at(now).length
        const present = Snapshot.read()(agree(keyspace, this.keys, model.at(now), chance))
        yield* Effect.provideService(present, Store.Store, this.store())
        for (const { expected, view } of this.held) {
          const past = agree(keyspace, this.keys, expected[index] ?? [], chance)
          yield* Effect.provideService(past, Snapshot.Snapshot, view)
        }
      }
      yield* this.lookRaw(now)
    })
  }

  private lookRaw(now: number): Effect.Effect<void> {
    return Effect.map(Effect.provideService(plain.raw, Store.Store, this.store()), (raw) => {
      const model = this.models[0] as Timed
      const many = raw.getManyUnsafe(this.keys.map(bytes))
      this.keys.forEach((key, index) => {
        const expected = model.get(key, now)?.value
        const alone = raw.getUnsafe(bytes(key))
        assert.strictEqual(alone === undefined ? undefined : text(alone), expected)
        const among = many[index]
        assert.strictEqual(among === undefined ? undefined : text(among), expected)
      })
    })
  }
}

describe("records that expire", () => {
  for (const configuration of configurations) {
    for (const seed of seeds) {
      it.effect(
        `are as the model says: ${configuration.name}, seed ${seed}`,
        () =>
          Effect.scoped(Effect.gen(function*() {
            const life = new Life(seed, configuration, yield* Layer.build(layer({ seed })))
            yield* TestClock.setTime(1_000)
            yield* life.begin()
            for (let step = 0; step < steps; step++) yield* life.step()
            yield* life.look()
            yield* life.end()
          })),
        60_000
      )
    }
  }

  it("were hidden, removed and cut off often", () => {
    if (asked !== undefined) return
    assert.isAbove(figures.hidden, 1_000)
    assert.isAbove(figures.sweeps, 50)
    assert.isAbove(figures.removed, 300)
    assert.isAbove(figures.crashes, 5)
  })
})
