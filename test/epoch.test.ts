/**
 * Epochs against what they promise, written out in full; and against ones that free too early, too late or twice.
 */
import { assert, describe, it } from "@effect/vitest"
import { Epoch } from "../src/tree/memory/Epoch.ts"
import { random } from "./support/random.ts"

/** Pins and retirements at random; every item remembers the pins that were there. Throws where a rule is broken. */
const live = (make: (release: (item: number) => void) => Epoch<number>, seed: number): number => {
  const chance = random(seed)
  const held = new Map<number, Set<number>>()
  const order: Array<number> = []
  const pins = new Map<number, number>()
  let released = 0
  let delayed = 0
  let next = 0
  const epoch = make((item) => {
    const waitsFor = held.get(item)
    if (waitsFor === undefined) throw new Error(`item ${item} is released twice`)
    if (waitsFor.size > 0) throw new Error(`item ${item} is released under ${waitsFor.size} pins`)
    if (order.shift() !== item) throw new Error(`item ${item} is released out of turn`)
    held.delete(item)
    released++
  })
  const busy = chance.pick([0.2, 0.5, 0.7])
  const check = (): void => {
    const due = [...held.values()].filter((waitsFor) => waitsFor.size === 0).length
    if (due > 0) throw new Error(`${due} items are held up by nobody`)
    if (epoch.waiting !== held.size) throw new Error(`${epoch.waiting} items wait, not ${held.size}`)
  }
  const letGo = (reader: number): void => {
    const pin = pins.get(reader) as number
    pins.delete(reader)
    for (const waitsFor of held.values()) waitsFor.delete(reader)
    epoch.unpin(pin)
  }
  for (let step = 0; step < 500; step++) {
    if (chance.bool(busy) && pins.size < 20) pins.set(next++, epoch.pin())
    else if (pins.size > 0 && chance.bool(0.6)) letGo(chance.pick([...pins.keys()]))
    else {
      const item = next++
      held.set(item, new Set(pins.keys()))
      order.push(item)
      if (pins.size > 0) delayed++
      epoch.retire(item)
    }
    check()
  }
  pins.forEach((_, reader) => letGo(reader))
  check()
  assert.strictEqual(held.size, 0)
  assert.isAbove(released, 20)
  return delayed
}

describe("an epoch", () => {
  it("releases what is retired when all are gone who were there, and no later", () => {
    let delayed = 0
    for (let seed = 1; seed <= 300; seed++) delayed += live((release) => new Epoch(release), seed)
    assert.isAbove(delayed, 10_000)
  })

  it("that nobody pins holds nothing up", () => {
    const released: Array<string> = []
    const epoch = new Epoch<string>((item) => released.push(item))
    epoch.retire("a")
    epoch.unpin(epoch.pin())
    epoch.retire("b")
    assert.deepStrictEqual(released, ["a", "b"])
  })

  it("is not held up by who came later", () => {
    const released: Array<string> = []
    const epoch = new Epoch<string>((item) => released.push(item))
    const first = epoch.pin()
    epoch.retire("a")
    const second = epoch.pin()
    epoch.retire("b")
    epoch.unpin(first)
    assert.deepStrictEqual(released, ["a"])
    epoch.unpin(second)
    assert.deepStrictEqual(released, ["a", "b"])
  })

  it("lets a pin go once", () => {
    const epoch = new Epoch<string>(() => {})
    const pin = epoch.pin()
    epoch.retire("a")
    epoch.unpin(pin)
    assert.throws(() => epoch.unpin(pin), /Epoch I2/)
    assert.throws(() => epoch.unpin(7), /Epoch I2/)
  })
})

describe("what frees wrongly is found out", () => {
  class Hasty extends Epoch<number> {
    private readonly now: (item: number) => void
    constructor(release: (item: number) => void) {
      super(release)
      this.now = release
    }
    override retire(item: number): void {
      this.now(item)
    }
  }

  /** Waits for one pin only: the newest that there was. */
  class Forgetful extends Epoch<number> {
    private newest = -1
    private readonly now: (item: number) => void
    private items: Array<number> = []
    constructor(release: (item: number) => void) {
      super(release)
      this.now = release
    }
    override get waiting(): number {
      return this.items.length
    }
    override pin(): number {
      return ++this.newest
    }
    override unpin(pin: number): void {
      if (pin === this.newest) { for (const item of this.items.splice(0)) this.now(item) }
    }
    override retire(item: number): void {
      this.items.push(item)
    }
  }

  /** One epoch for all: what is retired waits until nobody reads at all. */
  class Lazy extends Epoch<number> {
    private pins = 0
    private readonly now: (item: number) => void
    private items: Array<number> = []
    constructor(release: (item: number) => void) {
      super(release)
      this.now = release
    }
    override get waiting(): number {
      return this.items.length
    }
    override pin(): number {
      this.pins++
      return 0
    }
    override unpin(): void {
      if (--this.pins === 0) { for (const item of this.items.splice(0)) this.now(item) }
    }
    override retire(item: number): void {
      if (this.pins === 0) this.now(item)
      else this.items.push(item)
    }
  }

  const planted = [
    ["pins are ignored", Hasty, /under \d+ pins/],
    ["the newest pin alone counts", Forgetful, /under \d+ pins|held up by nobody/],
    ["later pins count too", Lazy, /held up by nobody/]
  ] as const
  for (const [title, Planted, message] of planted) {
    it(title, () => {
      for (let seed = 1; seed <= 10; seed++) {
        assert.throws(() => live((release) => new Planted(release), seed), message)
      }
    })
  }
})
