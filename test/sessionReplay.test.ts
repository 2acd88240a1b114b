/**
 * Sessions in the log: a prefix of each one's serials, without a hole and without a repeat.
 */
import { assert, describe, it } from "@effect/vitest"
import { GROUP_HEADER_BYTES } from "../src/log/Group.ts"
import { RecordReader } from "../src/log/RecordReader.ts"
import type { Tail } from "../src/log/Tail.ts"
import type { SessionEntry } from "../src/tree/file/Catalog.ts"
import { SessionReplay } from "../src/tree/SessionReplay.ts"
import { bytesOf, makeTail, start } from "./support/log.ts"
import { random } from "./support/random.ts"

type Say = (tail: Tail) => void

const open = (id: number, name: string, serial = 1): Say => (tail) => {
  tail.begin(1, { id, serial }).openSession(id, bytesOf(name))
  tail.append()
}
const commit = (id: number, serial: number): Say => (tail) => {
  tail.begin(2, { id, serial }).put(7, bytesOf("k"), bytesOf("v"))
  tail.append()
}
const end = (...ids: ReadonlyArray<number>): Say => (tail) => {
  const writer = tail.begin(3)
  for (const id of ids) writer.endSession(id)
  tail.append()
}
const plain: Say = (tail) => {
  tail.begin(4).put(7, bytesOf("k"), bytesOf("v"))
  tail.append()
}

/** Replays what was said; answers the sessions, or what is wrong and at which record. */
const replayed = (
  said: ReadonlyArray<Say>,
  from: ReadonlyArray<SessionEntry> = []
): { readonly sessions?: ReadonlyArray<SessionEntry>; readonly index?: number } => {
  const tail = makeTail({ at: start })
  for (const say of said) say(tail)
  const group = tail.seal()
  const replay = new SessionReplay(from)
  if (group === undefined) return { sessions: replay.entries() }
  const reader = new RecordReader()
  reader.open(group.bytes, GROUP_HEADER_BYTES, group.bytes.length, group.lsn + GROUP_HEADER_BYTES)
  for (let index = 0; reader.nextRecord(); index++) {
    const mismatch = replay.take(reader)
    if (mismatch !== undefined) return { index, ...mismatch }
    // Whoever applies the record finds all of it.
    let writes = 0
    while (reader.nextWrite()) writes++
    assert.strictEqual(writes, reader.writeCount)
  }
  assert.isUndefined(reader.fault)
  return { sessions: replay.entries() }
}

const brief = (sessions: ReadonlyArray<SessionEntry> | undefined) =>
  sessions?.map(({ id, name, serial }) => `${id} ${name} ${serial}`)

describe("SessionReplay", () => {
  it("follows sessions from where the checkpoint has them", () => {
    const said = [open(1, "a"), plain, commit(1, 2), open(2, "b"), commit(1, 3), end(2), open(3, "b"), plain]
    assert.deepStrictEqual(brief(replayed(said).sessions), ["1 a 3", "3 b 1"])
    const from = [{ id: 9, name: "z", serial: 2 ** 40, lsn: 64, millis: 1 }]
    const { sessions } = replayed([open(1, "a"), commit(9, 2 ** 40 + 1)], from)
    assert.deepStrictEqual(brief(sessions), [`9 z ${2 ** 40 + 1}`, "1 a 1"])
    assert.isAbove(sessions?.[0]?.lsn ?? 0, 64)
    assert.strictEqual(sessions?.[0]?.millis, 2)
  })

  it("takes several writes of sessions in one record", () => {
    const both: Say = (tail) => {
      const writer = tail.begin(5, { id: 4, serial: 1 })
      writer.endSession(1)
      writer.openSession(4, bytesOf("a"))
      writer.put(7, bytesOf("k"), bytesOf("v"))
      tail.append()
    }
    assert.deepStrictEqual(brief(replayed([open(1, "a"), both, commit(4, 2)]).sessions), ["4 a 2"])
    assert.deepStrictEqual(brief(replayed([open(1, "a"), open(2, "b"), end(1, 2)]).sessions), [])
  })

  const broken: Record<string, readonly [index: number, said: ReadonlyArray<Say>]> = {
    "a hole": [2, [open(1, "a"), commit(1, 2), commit(1, 4)]],
    "a repeat": [2, [open(1, "a"), commit(1, 2), commit(1, 2)]],
    "a first serial that is not 1": [0, [open(1, "a", 2)]],
    "a commit of an unknown session": [1, [open(1, "a"), commit(2, 1)]],
    "a commit of an ended session": [2, [open(1, "a"), end(1), commit(1, 2)]],
    "the end of an unknown session": [1, [open(1, "a"), end(2)]],
    "the id 0": [0, [open(0, "a")]],
    "an id that is opened twice": [1, [open(1, "a"), open(1, "b")]],
    "a name that is opened twice": [1, [open(1, "a"), open(2, "a")]]
  }
  for (const [name, [index, said]] of Object.entries(broken)) {
    it(`refuses ${name}`, () => assert.strictEqual(replayed(said).index, index))
  }

  it("finds any record that is missing or stands there twice", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const chance = random(seed)
      const serials = new Map<number, number>()
      const said: Array<readonly [id: number, say: Say]> = []
      for (let step = 0; step < 30; step++) {
        const id = 1 + chance.int(4)
        const serial = (serials.get(id) ?? 0) + 1
        serials.set(id, serial)
        said.push([id, serial === 1 ? open(id, `s${id}`) : commit(id, serial)])
      }
      const says = said.map(([, say]) => say)
      assert.strictEqual(replayed(says).sessions?.length, serials.size, `seed ${seed}`)
      const at = chance.int(said.length)
      const twice = says.toSpliced(at, 0, says[at] as Say)
      assert.strictEqual(replayed(twice).index, at + 1, `seed ${seed}`)
      const next = said.findIndex(([id], index) => index > at && id === said[at]?.[0])
      const missing = replayed(says.toSpliced(at, 1))
      assert.strictEqual(missing.index, next < 0 ? undefined : next - 1, `seed ${seed}`)
    }
  })
})
