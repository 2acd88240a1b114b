/**
 * The line before a session: one is under way, in the order of the serials, and everybody is told once what became of
 * his.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Answer, Place } from "../src/actors/commit/Serials.ts"
import { Serials } from "../src/actors/commit/Serials.ts"
import { Closed, storeError } from "../src/StoreError.ts"
import { random } from "./support/random.ts"

const session = (serial = 0) => ({ id: 1, name: "a", serial, lsn: 100 * serial, millis: 0 })

interface Guest extends Place {
  answer: Answer | undefined
}

class Line {
  readonly serials: Serials
  readonly guests: Array<Guest> = []

  constructor(serial = 0) {
    this.serials = new Serials(session(serial))
  }

  enter(serial: number, then: (guest: Guest) => void = () => {}): Guest {
    const guest: Guest = {
      serial,
      answer: undefined,
      told: (answer) => {
        assert.isUndefined(guest.answer, "told twice")
        guest.answer = answer
        then(guest)
      }
    }
    this.guests.push(guest)
    this.serials.enter(guest)
    return guest
  }

  commit(guest: Guest): void {
    this.serials.committed(session(guest.serial))
  }

  answers(): ReadonlyArray<string> {
    return this.guests.map(({ answer }) => answer?._tag ?? "waits")
  }
}

describe("Serials", () => {
  it("lets one after another begin, in the order of the serials", () => {
    const line = new Line()
    const one = line.enter(1)
    line.enter(3)
    const two = line.enter(2)
    assert.deepStrictEqual(line.answers(), ["Begin", "waits", "waits"])
    line.commit(one)
    assert.deepStrictEqual(line.answers(), ["Begin", "waits", "waits"])
    line.serials.leave(one)
    assert.deepStrictEqual(line.answers(), ["Begin", "waits", "Begin"])
    line.commit(two)
    line.serials.leave(two)
    line.serials.leave(two)
    assert.deepStrictEqual(line.answers(), ["Begin", "Begin", "Begin"])
  })

  it("joins a serial that is under way: it is a repeat, or it is free", () => {
    const line = new Line(4)
    const first = line.enter(5)
    const second = line.enter(5)
    const third = line.enter(5)
    line.serials.leave(first)
    assert.deepStrictEqual(line.answers(), ["Begin", "Begin", "waits"])
    line.commit(second)
    line.serials.leave(second)
    assert.deepStrictEqual(third.answer, { _tag: "Repeated", lsn: 500 })
    assert.deepStrictEqual(line.enter(5).answer, { _tag: "Repeated", lsn: 500 })
    assert.deepStrictEqual(line.enter(4).answer, { _tag: "Repeated", lsn: undefined })
    assert.deepStrictEqual(line.enter(1).answer, { _tag: "Repeated", lsn: undefined })
  })

  it("refuses what is out of turn as soon as nothing before it is under way", () => {
    const line = new Line(4)
    for (const serial of [6, 0, -1, 5.5, NaN, Infinity, 2 ** 53]) {
      assert.deepStrictEqual(line.enter(serial).answer, { _tag: "Gap", expected: 5 }, `${serial}`)
    }
    const five = line.enter(5)
    const seven = line.enter(7)
    const eight = line.enter(8)
    for (const serial of [0, 5.5, NaN]) assert.strictEqual(line.enter(serial).answer?._tag, "Gap")
    line.commit(five)
    line.serials.leave(five)
    for (const { answer } of [seven, eight]) assert.deepStrictEqual(answer, { _tag: "Gap", expected: 6 })
    const six = line.enter(6)
    const late = line.enter(7)
    line.serials.leave(six)
    assert.deepStrictEqual(late.answer, { _tag: "Gap", expected: 6 })
  })

  it("forgets who does not want to wait any more", () => {
    const line = new Line()
    const one = line.enter(1)
    const joined = line.enter(1)
    const two = line.enter(2)
    line.serials.leave(two)
    line.serials.leave(joined)
    line.commit(one)
    line.serials.leave(one)
    assert.deepStrictEqual(line.answers(), ["Begin", "waits", "waits"])
    assert.strictEqual(line.enter(2).answer?._tag, "Begin")
  })

  it("tells everybody when it is closed", () => {
    const line = new Line()
    const one = line.enter(1)
    line.enter(1)
    line.enter(2)
    line.serials.close(storeError(new Closed()))
    line.enter(1)
    assert.deepStrictEqual(line.answers(), ["Begin", "Refused", "Refused", "Refused"])
    line.serials.leave(one)
  })

  it("calls nobody from inside another, however many fail at once", () => {
    const line = new Line()
    const [guests, deepest] = [20_000, 3]
    let depth = 0
    const first = line.enter(1)
    for (let index = 1; index < guests; index++) {
      line.enter(1, (guest) => {
        assert.isAtMost(++depth, deepest)
        line.serials.leave(guest)
        depth--
      })
    }
    line.serials.leave(first)
    assert.deepStrictEqual(new Set(line.answers()), new Set(["Begin"]))
  })

  for (let seed = 1; seed <= 200; seed++) {
    it(`commits each serial once, in order, and leaves nobody waiting for nothing (seed ${seed})`, () => {
      const chance = random(seed)
      const line = new Line()
      const committed: Array<number> = []
      /** Who is under way. */
      let running: Guest | undefined
      const act = (guest: Guest): void => {
        if (guest.answer?._tag === "Begin") {
          assert.isUndefined(running, "two are under way")
          assert.strictEqual(guest.serial, committed.length + 1)
          running = guest
          // Often a transaction ends on the stack of whoever let it in.
          if (chance.bool(0.3)) finish()
        } else if (guest.answer?._tag === "Repeated") {
          assert.isAtMost(guest.serial, committed.length)
          if (chance.bool(0.2)) line.enter(committed.length + 1, act)
        } else if (guest.answer?._tag === "Gap") {
          assert.strictEqual(guest.answer.expected, committed.length + 1)
        }
      }
      const finish = (): void => {
        const guest = running
        if (guest === undefined) return
        running = undefined
        if (chance.bool(0.7)) {
          committed.push(guest.serial)
          line.commit(guest)
        }
        line.serials.leave(guest)
      }
      for (let step = 0; step < 300; step++) {
        if (chance.bool(0.35)) finish()
        else if (chance.bool(0.1)) {
          const waiting = line.guests.filter(({ answer }) => answer === undefined)
          if (waiting.length === 0) continue
          const [gone] = line.guests.splice(line.guests.indexOf(chance.pick(waiting)), 1)
          if (gone !== undefined) line.serials.leave(gone)
        } else line.enter(Math.max(1, committed.length - 1 + chance.int(5)), act)
        if (running === undefined) assert.notInclude(line.answers(), "waits")
      }
      assert.isAbove(committed.length, 5)
      assert.deepStrictEqual(committed, Array.from(committed, (_, index) => index + 1))
    })
  }
})
