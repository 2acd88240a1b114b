/**
 * The table of sessions by itself: what it says of itself in the log, and who may be ended.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import type { Serials } from "../src/actors/commit/Serials.ts"
import { Sessions } from "../src/actors/commit/Sessions.ts"
import { defaults } from "../src/Limits.ts"
import { RecordReader } from "../src/log/RecordReader.ts"
import type { SessionEntry } from "../src/tree/file/Catalog.ts"
import { SessionReplay } from "../src/tree/SessionReplay.ts"
import { makeTail } from "./support/log.ts"
import { random } from "./support/random.ts"

const limits = { ...defaults, sessions: 6, sessionIdleMillis: 100 }

const entry = (id: number): SessionEntry => ({ id, name: `s${id}`, serial: 1, lsn: 64 + id, millis: 0 })

/** A table with a log, and a replay of that log beside it. */
class Rig {
  now = 0
  readonly sessions: Sessions
  readonly replay: SessionReplay
  private readonly tail = makeTail({ segmentBytes: 4_194_304 })
  private readonly reader = new RecordReader()

  constructor(entries: ReadonlyArray<SessionEntry> = [], most = limits.sessions) {
    this.sessions = new Sessions(entries, { ...limits, sessions: most }, () => this.now)
    this.replay = new SessionReplay(entries)
  }

  commit(serials: Serials): void {
    const serial = serials.last.serial + 1
    const place = { serial, told: () => {} }
    serials.enter(place)
    const use = { serials, serial, visible: () => {} }
    assert.isUndefined(this.sessions.refusal(use))
    this.sessions.begin(this.tail, this.now, use)
    const lsn = this.append()
    this.sessions.committed(use, lsn, this.now)
    serials.leave(place)
  }

  end(names: ReadonlyArray<string>, by?: Serials): number {
    const count = this.sessions.end(this.tail.begin(this.now), names, by)
    if (count > 0) this.append()
    else this.tail.cancel()
    return count
  }

  claim(name: string): Serials | undefined {
    const exit = this.sessions.claim(name)
    return Exit.isSuccess(exit) ? exit.value : undefined
  }

  private append(): number {
    const lsn = this.tail.append()
    const reader = this.tail.readLast(this.reader)
    assert.isTrue(reader.nextRecord())
    assert.isUndefined(this.replay.take(reader))
    return lsn
  }
}

describe("Sessions", () => {
  for (let seed = 1; seed <= 100; seed++) {
    it(`are what a replay of their log makes of it (seed ${seed})`, () => {
      const chance = random(seed)
      const rig = new Rig()
      const { sessions } = rig
      const open: Array<Serials> = []
      for (let step = 0; step < 300; step++) {
        rig.now += chance.int(20)
        const kind = chance.int(10)
        const name = `s${chance.int(9)}`
        if (kind < 4) {
          const isOpen = open.some(({ last }) => last.name === name)
          const isKnown = sessions.image().some((known) => known.name === name)
          const unnamed = open.filter(({ last }) => last.id === 0).length
          const serials = rig.claim(name)
          const isFull = !isKnown && sessions.remembered + unnamed >= limits.sessions
          assert.strictEqual(serials === undefined, isOpen || isFull, `step ${step}`)
          if (serials !== undefined) open.push(serials)
        } else if (open.length > 0 && kind < 8) rig.commit(chance.pick(open))
        else if (open.length > 0 && kind < 9) {
          const [serials] = open.splice(chance.int(open.length), 1)
          if (serials !== undefined && chance.bool(0.7)) sessions.release(serials)
          else if (serials !== undefined) rig.end([serials.last.name], serials)
        } else {
          const due = sessions.due()
          const stale = sessions.stale()
          assert.strictEqual(stale.length > 0, due !== undefined && due <= rig.now)
          // Who is opened in the meantime is spared.
          const spared = chance.bool(0.5) ? stale[0] : undefined
          const serials = spared === undefined ? undefined : rig.claim(spared)
          if (serials !== undefined) open.push(serials)
          assert.strictEqual(rig.end(stale), stale.length - (serials === undefined ? 0 : 1))
        }
        assert.isAtMost(sessions.remembered, limits.sessions)
        assert.strictEqual(sessions.opened, open.length)
        const byId = (a: SessionEntry, b: SessionEntry): number => a.id - b.id
        assert.deepStrictEqual([...sessions.image()].sort(byId), [...rig.replay.entries()].sort(byId))
      }
    })
  }

  it("use ids again after the last one, and never those in use", () => {
    const rig = new Rig([entry(1), entry(2 ** 32 - 2), entry(3)])
    for (const id of [2 ** 32 - 1, 2, 4]) {
      const serials = rig.claim(`new ${id}`)
      if (serials === undefined) return assert.fail("there is room")
      rig.commit(serials)
      assert.strictEqual(serials.last.id, id)
    }
  })

  it("are ended in the order of their last commits, many with one record", () => {
    const many = Array.from({ length: 3_000 }, (_, index) => entry(index + 1))
    const rig = new Rig(many.toReversed(), 5_000)
    rig.now = 99
    assert.deepStrictEqual(rig.sessions.stale(), [])
    rig.now = 100
    const first = rig.sessions.stale()
    assert.deepStrictEqual(first, many.slice(0, 1_024).map(({ name }) => name))
    assert.strictEqual(rig.end(first), 1_024)
    assert.strictEqual(rig.end(rig.sessions.outdated()), 1_024)
    assert.strictEqual(rig.end(rig.sessions.stale()), 952)
    assert.isUndefined(rig.sessions.due())
    assert.strictEqual(rig.sessions.bytes, 0)
  })
})
