/**
 * The conflict window, against a list of everything that was written.
 */
import { assert, describe, it } from "@effect/vitest"
import { ReadSet } from "../src/actors/commit/ReadSet.ts"
import { Window } from "../src/actors/commit/Window.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import { seeds } from "./support/recorder.ts"

const names = ["a", "b", "c"]
/** One of some hundred keys, or of very many. */
const keyOf = (chance: Random): Uint8Array =>
  Uint8Array.from([chance.int(6), chance.int(256), chance.int(4)].slice(chance.int(3)))

interface Write {
  readonly space: number
  /** Undefined: the whole keyspace. */
  readonly key: Uint8Array | undefined
  readonly lsn: number
}

interface Open {
  readonly reads: ReadSet
  readonly keys: Array<readonly [space: number, key: Uint8Array]>
}

const below = (key: Uint8Array, upper: Uint8Array | undefined): boolean =>
  upper === undefined || Buffer.compare(key, upper) < 0

/** Whether a transaction must lose, by everything that was ever written. */
const hasLost = ({ keys, reads }: Open, writes: ReadonlyArray<Write>): boolean =>
  writes.some(({ key, lsn, space }) =>
    lsn >= reads.at && (key === undefined
      ? reads.spaces.includes(space)
      : keys.some((read) => read[0] === space && Buffer.compare(read[1], key) === 0) ||
        reads.ranges.some((range) =>
          range.space === space && range.lower !== undefined && Buffer.compare(key, range.lower) >= 0 &&
          below(key, range.upper)
        ))
  )

const drawReads = (chance: Random, open: Open): void => {
  const space = chance.int(names.length)
  if (chance.bool(0.7)) {
    const key = keyOf(chance)
    open.keys.push([space, key])
    return open.reads.key(space, key)
  }
  const range = open.reads.range(space)
  if (chance.bool(0.1)) return
  const bounds = [keyOf(chance), keyOf(chance)].sort(Buffer.compare)
  range.lower = bounds[0]
  range.upper = chance.bool(0.2) ? undefined : bounds[1]
}

/** Draws a life of a window; answers how many transactions lost, and how many of those need not have. */
const live = (seed: number, mostBytes: number) => {
  const chance = random(seed)
  const window = new Window({ since: 1, mostBytes })
  for (const name of names) window.spaceOf(name)
  const writes: Array<Write> = []
  const open: Array<Open> = []
  const counts = { lost: 0, needless: 0, valid: 0 }
  let lsn = 1
  const begin = (): void => {
    window.begin(lsn)
    open.push({ reads: new ReadSet(lsn), keys: [] })
    for (let left = chance.int(4) + 1; left > 0; left--) drawReads(chance, open.at(-1) as Open)
  }
  const commit = (): void => {
    for (let left = chance.int(40); left > 0; left--) {
      const space = chance.int(names.length)
      const key = chance.bool(0.01) ? undefined : keyOf(chance)
      writes.push({ space, key, lsn })
      if (window.open === 0) continue
      if (key === undefined) window.writeAll(space, lsn)
      else window.write(space, key, lsn)
    }
    lsn += 1 + chance.int(100)
    if (window.open === 0) window.skip(lsn)
  }
  const end = (): void => {
    const [ended] = open.splice(chance.int(open.length), 1)
    if (ended === undefined) return
    const lost = window.conflict(ended.reads) !== undefined
    const must = hasLost(ended, writes)
    assert.isTrue(lost || !must, `seed ${seed}: a transaction that lost was taken for valid`)
    counts[!lost ? "valid" : must ? "lost" : "needless"]++
    window.end(ended.reads.at)
  }
  for (let step = 0; step < 1_500; step++) {
    const dice = chance.int(10)
    if (dice < 3 && open.length < 40) begin()
    else if (dice < 7) commit()
    else if (dice < 9 || chance.bool(0.9)) end()
    else while (open.length > 0) end()
    assert.isAtMost(window.bytes, mostBytes + 64 * 1024)
  }
  while (open.length > 0) end()
  assert.strictEqual(window.size, 0, "nothing is kept for nobody")
  return counts
}

describe("conflict window", () => {
  it("finds every conflict, and none that is not there", () => {
    const total = { lost: 0, needless: 0, valid: 0 }
    for (const seed of seeds(40)) {
      const counts = live(seed, 2 ** 20)
      for (const kind of ["lost", "needless", "valid"] as const) total[kind] += counts[kind]
    }
    assert.strictEqual(total.needless, 0)
    assert.isAbove(total.lost, 1_000)
    assert.isAbove(total.valid, 1_000)
  })

  it("with little memory refuses old transactions needlessly, and never accepts one that lost", () => {
    const total = { lost: 0, needless: 0, valid: 0 }
    for (const seed of seeds(20)) {
      const counts = live(seed, 24 * 1024)
      for (const kind of ["lost", "needless", "valid"] as const) total[kind] += counts[kind]
    }
    assert.isAbove(total.needless, 0)
    assert.isAbove(total.valid, 100)
  })

  it("a body that reads very much has read the whole of its keyspaces", () => {
    const window = new Window({ since: 1, mostBytes: 2 ** 20 })
    const space = window.spaceOf("a")
    window.begin(1)
    const reads = new ReadSet(1)
    for (let n = 0; n < 70_000; n++) reads.key(space, Buffer.from(String(n)))
    assert.isBelow(reads.hashes.length, 70_000)
    window.write(space, Buffer.from("never read"), 5)
    assert.strictEqual(window.conflict(reads), "a")
  })
})
