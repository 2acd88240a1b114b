import { assert, describe, it } from "@effect/vitest"
import { KeyScratch } from "../src/tree/page/KeyScratch.ts"
import * as Leaf from "../src/tree/page/Leaf.ts"
import * as Page from "../src/tree/page/Page.ts"
import { ValueScratch } from "../src/tree/page/ValueIn.ts"
import { VersionOrder } from "../src/tree/past/VersionOrder.ts"
import { Versions } from "../src/tree/past/Versions.ts"
import { random } from "./support/random.ts"
import { keys } from "./support/treeModel.ts"
import { bytes, text } from "./support/world.ts"

interface Entry {
  readonly treeId: number
  readonly key: string
  readonly from: number
  readonly to: number
  readonly value: string
  readonly expiry: number
}

const scratch = (key: string): KeyScratch => {
  const own = new KeyScratch()
  own.load(bytes(key))
  return own
}

const displace = (versions: Versions, entry: Entry): void => {
  const { expiry, from, to, treeId } = entry
  const key = scratch(entry.key)
  const value = bytes(entry.value)
  const words = new Int32Array(256)
  Page.begin(words, 0, { size: words.length, level: 0, pageId: 1, treeId })
  const need = Leaf.neededWords(words, 0, key.length, value.length, expiry)
  Leaf.insert(words, 0, 0, need, key, Leaf.Kind.Value, new ValueScratch().load(value), from, expiry)
  versions.displace(treeId, key, to, words, Leaf.recordAt(words, 0, 0), Page.slotBytes(words, 0, 0))
}

/** What an entry says, as the model has it. */
const read = (versions: Versions, row: number): Omit<Entry, "to"> => {
  const content = versions.bytesOf(row)
  const key = versions.keyAt(row)
  const value = versions.valueAt(row)
  return {
    treeId: versions.treeOf(row),
    key: text(content.slice(key, key + versions.keyBytesOf(row))),
    from: versions.versionOf(row),
    value: text(content.slice(value, value + versions.valueBytesOf(row))),
    expiry: versions.expiryOf(row)
  }
}

describe("versions", () => {
  it("keeps exactly what pins and the durable LSN may need", () => {
    for (let seed = 1; seed <= 150; seed++) {
      const chance = random(seed)
      const versions = new Versions({ durable: 0, visible: 0 })
      const key = keys(chance, 100)
      const current = new Map<string, number>()
      const past: Array<Entry> = []
      const pins: Array<number> = []
      let durable = 0
      for (let lsn = 1; lsn < 400; lsn++) {
        const treeId = 1 + chance.int(3)
        const name = chance.bool(0.7) && past.length > 0 ? chance.pick(past).key : key()
        const from = current.get(`${treeId} ${name}`)
        if (from !== undefined) {
          const value = text(chance.bytes(chance.pick([0, 3, 40, 300])))
          const entry = {
            treeId,
            key: name,
            from,
            to: lsn,
            value,
            expiry: chance.bool(0.2) ? lsn * 1000 : Infinity
          }
          displace(versions, entry)
          past.push(entry)
        }
        if (chance.bool(0.2)) current.delete(`${treeId} ${name}`)
        else current.set(`${treeId} ${name}`, lsn)
        versions.setVisible(lsn + 1)
        if (chance.bool(0.1)) durable = durable + chance.int(lsn + 2 - durable)
        versions.setDurable(durable)
        if (chance.bool(0.1)) {
          const pin = pins.length > 0 && chance.bool(0.3) ? chance.pick(pins) : lsn + 1
          versions.pin(pin)
          pins.push(pin)
        }
        if (pins.length > 0 && chance.bool(0.08)) {
          versions.unpin(pins.splice(chance.int(pins.length), 1)[0] as number)
        }

        const isNeeded = ({ from, to }: Entry): boolean =>
          to >= durable || pins.some((pin) => from < pin && pin <= to)
        const needed = past.filter(isNeeded)
        assert.strictEqual(versions.size, needed.length, `seed ${seed}, LSN ${lsn}`)
        assert.strictEqual(versions.oldestPin(), Math.min(durable, ...pins), `seed ${seed}, LSN ${lsn}`)
        const at = chance.pick([...pins, durable])
        assert.isTrue(versions.isPinned(at))
        const probe = chance.pick([...past, { treeId: 1, key: "none" }])
        const expected = needed.find((entry) =>
          entry.treeId === probe.treeId && entry.key === probe.key && entry.from < at && at <= entry.to
        )
        const row = versions.get(probe.treeId, scratch(probe.key), at)
        assert.deepStrictEqual(row < 0 ? undefined : { ...read(versions, row), to: expected?.to }, expected)
        if (!chance.bool(0.1)) continue
        const order = needed.filter((entry) =>
          entry.treeId > 1 || (entry.treeId === 1 && entry.key >= probe.key)
        )
          .sort((a, b) => a.treeId - b.treeId || (a.key < b.key ? -1 : a.key > b.key ? 1 : a.from - b.from))
        const seen: Array<Omit<Entry, "to">> = []
        let position = versions.seek(1, scratch(probe.key))
        const first = position
        for (; versions.entryAt(position) >= 0; position = versions.positionAfter(position)) {
          seen.push(read(versions, versions.entryAt(position)))
        }
        assert.deepStrictEqual(
          seen,
          order.map(({ expiry, from, key, treeId, value }) => ({ treeId, key, from, value, expiry })),
          `seed ${seed}, LSN ${lsn}`
        )
        const back: Array<Omit<Entry, "to">> = []
        for (
          position = versions.positionBefore(position);
          position >= first;
          position = versions.positionBefore(position)
        ) {
          back.push(read(versions, versions.entryAt(position)))
        }
        assert.deepStrictEqual(back.reverse(), seen, `seed ${seed}, LSN ${lsn}`)
      }
    }
  })

  it("gives its memory back", () => {
    const versions = new Versions({ durable: 0, visible: 0 })
    const value = "v".repeat(1000)
    let highest = 0
    for (let lsn = 1; lsn <= 20_000; lsn++) {
      displace(versions, { treeId: 1, key: String(lsn % 7), from: lsn - 1, to: lsn, value, expiry: Infinity })
      versions.setVisible(lsn + 1)
      if (lsn % 1000 === 0) {
        versions.setDurable(lsn + 1)
        highest = Math.max(highest, versions.bytes)
        assert.strictEqual(versions.size, 0)
      }
    }
    assert.isBelow(highest, 3_000_000)
  })

  it("keeps for a long reader what it needs, not all that changed since", () => {
    const versions = new Versions({ durable: 1, visible: 1 })
    versions.pin(1)
    for (let lsn = 1; lsn < 10_000; lsn++) {
      displace(versions, { treeId: 1, key: "hot", from: lsn - 1, to: lsn, value: "v", expiry: Infinity })
      versions.setVisible(lsn + 1)
      versions.pin(lsn + 1)
      versions.setDurable(lsn + 1)
      versions.unpin(lsn + 1)
      assert.isAtMost(versions.size, 2)
    }
    assert.strictEqual(versions.get(1, scratch("hot"), 1) >= 0, true)
    versions.unpin(1)
    assert.strictEqual(versions.size, 0)
  })

  it("keeps nothing while recovery runs", () => {
    const versions = new Versions({ durable: Infinity, visible: Infinity })
    displace(versions, { treeId: 1, key: "k", from: 1, to: 2, value: "v", expiry: Infinity })
    assert.strictEqual(versions.size, 0)
    versions.restart(10)
    displace(versions, { treeId: 1, key: "k", from: 2, to: 10, value: "v", expiry: Infinity })
    assert.strictEqual(versions.size, 1)
    assert.isTrue(versions.get(1, scratch("k"), 10) >= 0)
  })
})

describe("version order", () => {
  it("is a sorted set", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const chance = random(seed)
      const order = new VersionOrder()
      const model: Array<number> = []
      const most = chance.pick([5, 300, 3000])
      for (let step = 0; step < 3000; step++) {
        const id = chance.int(most)
        const index = model.findIndex((other) => other >= id)
        if (model[index] === id) {
          order.remove(id, (other) => other - id)
          model.splice(index, 1)
        } else {
          order.insert(id, (other) => other - id)
          model.splice(index < 0 ? model.length : index, 0, id)
        }
        assert.strictEqual(order.size, model.length)
        const probe = chance.int(most)
        const position = order.lower((other) => other - probe)
        assert.strictEqual(order.at(position), model.find((other) => other >= probe) ?? -1, `seed ${seed}`)
        assert.strictEqual(order.at(order.previous(position)), model.findLast((other) => other < probe) ?? -1)
      }
    }
  })
})
