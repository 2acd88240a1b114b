/**
 * The slots of the page file against a model: what each retained checkpoint refers to is written down in full, and no
 * slot of it is ever handed out.
 */
import { assert, describe, it } from "@effect/vitest"
import { PageFile } from "../src/tree/file/PageFile.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

interface Checkpoint {
  readonly version: number
  readonly slots: ReadonlySet<number>
}

/** A store's slots as its checkpoints see them. */
class Model {
  slots = new PageFile()
  /** What the next cut will refer to, and images that no cut will: birth by slot. */
  readonly live = new Map<number, number>()
  /** Since which version a slot is not referred to. A checkpoint that failed may have referred to it, or seem to. */
  readonly retired = new Map<number, number>()
  readonly quarantined = new Set<number>()
  /** What is given up and still held by readers: the pins that were there. */
  readonly awaited = new Map<number, Set<number>>()
  readonly pins = new Map<number, number>()
  private reader = 0
  epoch = 1
  newest: Checkpoint = { version: 0, slots: new Set() }
  older: Checkpoint = { version: 0, slots: new Set() }
  /** The checkpoint in flight: cut, not yet published. */
  inFlight: Checkpoint | undefined
  readonly chance: Random

  constructor(chance: Random) {
    this.chance = chance
  }

  retained(slot: number): boolean {
    return this.newest.slots.has(slot) || this.older.slots.has(slot) ||
      this.inFlight?.slots.has(slot) === true
  }

  allocate(): void {
    let lowest = 1
    while (lowest < this.slots.slots && this.slots.stateOf(lowest) !== "free") lowest++
    const slot = this.slots.allocate(this.epoch)
    assert.strictEqual(slot, lowest, "the lowest free slot")
    assert.isFalse(this.awaited.has(slot), `slot ${slot} is being read`)
    assert.isFalse(this.live.has(slot), `slot ${slot} is in use`)
    assert.isFalse(this.retained(slot), `slot ${slot} belongs to a checkpoint`)
    assert.isFalse(this.quarantined.has(slot), `slot ${slot} cannot be written`)
    this.live.set(slot, this.epoch)
  }

  /** A slot that no cut refers to is retired as of version 0, as `Pages.ts` does it, or as of the epoch. */
  retire(): void {
    const slot = this.chance.pick([...this.live.keys()])
    const version = !this.retained(slot) && this.chance.bool(0.5) ? 0 : this.epoch
    this.slots.retire(slot, version)
    if ((this.live.get(slot) as number) < version) this.retired.set(slot, version)
    else this.giveUp(slot)
    this.live.delete(slot)
  }

  private giveUp(slot: number): void {
    if (this.pins.size > 0) this.awaited.set(slot, new Set(this.pins.keys()))
  }

  pin(): void {
    this.pins.set(this.reader++, this.slots.epoch.pin())
  }

  unpin(): void {
    const reader = this.chance.pick([...this.pins.keys()])
    const pin = this.pins.get(reader) as number
    this.pins.delete(reader)
    for (const [slot, readers] of this.awaited) {
      readers.delete(reader)
      if (readers.size === 0) this.awaited.delete(slot)
    }
    this.slots.epoch.unpin(pin)
  }

  /** What is in use or given up and read stays in the books, and all of the floor. */
  trim(): void {
    const before = this.slots.slots
    const floor = this.chance.bool(0.5) ? 0 : this.chance.int(before + 10)
    let end = before
    while (end > Math.max(1, floor) && this.slots.stateOf(end - 1) === "free") end--
    assert.strictEqual(this.slots.trim(floor), before - end)
    assert.strictEqual(this.slots.slots, end)
  }

  quarantine(): void {
    const fresh = [...this.live].filter(([slot, birth]) => birth === this.epoch && !this.retained(slot))
    if (fresh.length === 0) return
    const [slot] = this.chance.pick(fresh)
    this.slots.quarantine(slot)
    this.live.delete(slot)
    this.quarantined.add(slot)
  }

  cut(): void {
    if (this.inFlight !== undefined) return
    this.inFlight = { version: this.epoch++, slots: new Set(this.live.keys()) }
  }

  publish(): void {
    if (this.inFlight === undefined) return
    this.older = this.newest
    this.newest = this.inFlight
    this.inFlight = undefined
    const due = [...this.retired].filter(([, version]) => version <= this.older.version)
    for (const [slot] of due) {
      this.retired.delete(slot)
      this.giveUp(slot)
    }
    assert.strictEqual(this.slots.publish(this.older.version), due.length)
  }

  /** Opens the store anew: what no retained checkpoint refers to is free again. */
  restore(): void {
    const file = new PageFile()
    const { newest, older } = this
    const restored = file.restore({
      // A checkpoint says up to where it refers to slots; the books of the one before may have ended elsewhere.
      slots: Math.max(0, ...newest.slots, ...older.slots) + 1,
      version: newest.version,
      newest: newest.slots,
      older: older.slots
    })
    assert.isTrue(restored)
    this.slots = file
    this.inFlight = undefined
    this.epoch = newest.version + 1 + this.chance.int(2)
    this.live.clear()
    this.quarantined.clear()
    this.retired.clear()
    this.awaited.clear()
    this.pins.clear()
    for (const slot of older.slots) if (!newest.slots.has(slot)) this.retired.set(slot, newest.version)
    for (const slot of newest.slots) this.live.set(slot, newest.version)
  }

  check(): void {
    const { slots } = this
    const count = { free: 0, live: 0, retired: 0, quarantined: 0 }
    for (let slot = 1; slot < slots.slots; slot++) {
      const state = slots.stateOf(slot)
      count[state]++
      const known = this.live.has(slot)
        ? "live"
        : this.retired.has(slot) || this.awaited.has(slot)
        ? "retired"
        : this.quarantined.has(slot)
        ? "quarantined"
        : "free"
      if (state !== known) assert.fail(`slot ${slot} is ${state}, not ${known}`)
      if (state === "free" && this.retained(slot)) assert.fail(`slot ${slot} belongs to a checkpoint`)
    }
    assert.deepStrictEqual(count, {
      free: slots.freeCount,
      live: slots.liveSlots,
      retired: slots.retiredCount,
      quarantined: slots.quarantinedCount
    })
    assert.strictEqual(count.free + count.live + count.retired + count.quarantined + 1, slots.slots)
    assert.strictEqual(slots.used, Math.max(0, ...this.live.keys()) + 1)
    for (const slot of [...this.newest.slots, ...this.older.slots]) assert.isBelow(slot, slots.slots)
  }
}

const refused = (work: () => void): void => assert.throws(work, /PageFile I1/)

describe("PageFile", () => {
  for (let seed = 1; seed <= 60; seed++) {
    it(`hands out no slot that a retained checkpoint or the newest state refers to (seed ${seed})`, () => {
      const chance = random(seed)
      const model = new Model(chance)
      const most = 20 + chance.int(200)
      for (let step = 0; step < 2_000; step++) {
        const kind = chance.int(100)
        if (kind < 45 && model.live.size < most) model.allocate()
        else if (kind < 78 && model.live.size > 0) model.retire()
        else if (kind < 80 && model.pins.size < 5) model.pin()
        else if (kind < 83 && model.pins.size > 0) model.unpin()
        else if (kind < 85) model.trim()
        else if (kind < 88) model.quarantine()
        else if (kind < 93) model.cut()
        // A checkpoint that fails is forgotten; its version is never used again.
        else if (kind < 94) model.inFlight = undefined
        else if (kind < 99) model.publish()
        else if (chance.bool(0.2)) model.restore()
        if (step % 25 === 0) model.check()
      }
      model.check()
    })
  }

  it("frees all that was retired once two later checkpoints exist", () => {
    const slots = new PageFile()
    const first = Array.from({ length: 100 }, () => slots.allocate(1))
    for (const slot of first) slots.retire(slot, 2)
    assert.strictEqual(slots.retiredCount, 100)
    assert.strictEqual(slots.publish(1), 0)
    assert.strictEqual(slots.publish(2), 100)
    assert.strictEqual(slots.freeCount, 100)
    assert.deepStrictEqual(
      Array.from({ length: 100 }, () => slots.allocate(3)),
      first,
      "in runs, lowest first"
    )
    assert.strictEqual(slots.slots, 101)
  })

  it("hands out no slot that is being read", () => {
    const slots = new PageFile()
    const pin = slots.epoch.pin()
    const [first, second] = [slots.allocate(1), slots.allocate(1)]
    slots.retire(first, 0)
    slots.retire(second, 2)
    assert.strictEqual(slots.stateOf(first), "retired")
    assert.strictEqual(slots.publish(2), 1)
    assert.strictEqual(slots.allocate(2), 3)
    assert.strictEqual(slots.trim(0), 0)
    slots.epoch.unpin(pin)
    assert.deepStrictEqual([slots.allocate(2), slots.allocate(2), slots.allocate(2)], [first, second, 4])
  })

  it("finds the lowest free slot of many, wherever it is", () => {
    const slots = new PageFile()
    const chance = random(1)
    for (let slot = 1; slot <= 10_000; slot++) slots.allocate(1)
    const freed = new Set(Array.from({ length: 3_000 }, () => 1 + chance.int(10_000)))
    for (const slot of freed) slots.retire(slot, 0)
    const expected = [...freed].sort((a, b) => a - b)
    assert.deepStrictEqual(expected.map(() => slots.allocate(1)), expected)
    assert.strictEqual(slots.allocate(1), 10_001)
  })

  it("grows by one slot at a time, and keeps the header's", () => {
    const slots = new PageFile()
    for (let slot = 1; slot <= 1_000; slot++) assert.strictEqual(slots.allocate(1), slot)
    assert.strictEqual(slots.slots, 1_001)
  })

  it("takes back only what is live", () => {
    const slots = new PageFile()
    const [free, retired, bad] = [slots.allocate(1), slots.allocate(1), slots.allocate(1)]
    slots.retire(free, 1)
    slots.retire(retired, 2)
    slots.quarantine(bad)
    for (const slot of [0, free, retired, bad, 4, 1_000]) {
      refused(() => slots.retire(slot, 3))
      refused(() => slots.quarantine(slot))
    }
  })
})

describe("restore", () => {
  const restore = (slots: number, newest: ReadonlyArray<number>, older: ReadonlyArray<number>): boolean =>
    new PageFile().restore({ slots, version: 5, newest, older })

  it("answers false where a slot is claimed twice or lies outside the file", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const chance = random(seed)
      const count = 2 + chance.int(300)
      const pick = (p: number) =>
        Array.from({ length: count - 1 }, (_, index) => index + 1).filter(() => chance.bool(p))
      const [newest, older] = [[...pick(0.4), 1], pick(0.4)]
      const sound = [...new Set(newest)]
      assert.isTrue(restore(count, sound, older), `seed ${seed}`)
      assert.isFalse(restore(count, [...sound, chance.pick(sound)], older), `seed ${seed}`)
      for (const slot of [0, -1, count, count + chance.int(1_000), 2 ** 32 - 1]) {
        assert.isFalse(restore(count, [...sound, slot], older), `seed ${seed}, slot ${slot}`)
        assert.isFalse(restore(count, sound, [...older, slot]), `seed ${seed}, slot ${slot}`)
      }
    }
  })

  it("a slot of both checkpoints is live, one of the older alone retired, any other free", () => {
    const slots = new PageFile()
    assert.isTrue(slots.restore({ slots: 8, version: 5, newest: [1, 2, 3], older: [2, 3, 4, 5, 5] }))
    assert.deepStrictEqual(
      Array.from({ length: 7 }, (_, index) => slots.stateOf(index + 1)),
      ["live", "live", "live", "retired", "retired", "free", "free"]
    )
    assert.strictEqual(slots.publish(4), 0)
    assert.strictEqual(slots.publish(5), 2)
    slots.retire(2, 6)
    assert.strictEqual(slots.stateOf(2), "retired")
  })
})
