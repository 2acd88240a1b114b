/**
 * Rot: whatever happens to the bytes of a store at rest, opening it and reading everything gives the right data or a
 * typed error; never wrong or missing data, a defect, a hang, or an empty store.
 *
 * Two stores, as small as stores can be: one was closed, one was killed after its last mark. The one limit: of a killed
 * store the very last group is below no mark until the mark after it is written. So what hits that group and its mark
 * at once, as the loss of a sector may, takes both away unnoticed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import { GROUP_MAGIC } from "../src/log/Group.ts"
import { SEGMENT_HEADER_BYTES } from "../src/log/Segment.ts"
import * as Store from "../src/Store.ts"
import type { Reason } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import * as Broken from "./support/broken.ts"
import { random } from "./support/random.ts"
import { upTo } from "./support/stores.ts"

const { Words } = Broken

/** Overwritten, removed and large values, over two checkpoints and some segments of the log. */
const work = Effect.gen(function*() {
  const store = yield* Store.Store
  const { int } = random(11)
  const some = (count: number, value: string) =>
    Effect.forEach(upTo(count), () => Words.put(`k${int(60)}`, value.repeat(1 + int(20))), { discard: true })
      .pipe(Tx.transact())
  yield* some(60, "first")
  yield* store.checkpoint
  yield* some(20, "second")
  yield* Words.put("large", "L".repeat(1_500)).pipe(Tx.transact())
  yield* Effect.forEach(upTo(10), (n) => Words.remove(`k${n}`)).pipe(Tx.transact())
  yield* store.checkpoint
  for (const value of ["third", "fourth"]) yield* some(5, value)
  yield* Words.put("larger", "M".repeat(2_500)).pipe(Tx.transact())
  yield* some(5, "last")
})

/** The bytes of a file from the last data group to the mark after it. */
interface Beyond {
  readonly path: string
  readonly from: number
  readonly until: number
}

/** The last two groups of the log, which are these two in a store that was killed when its mark was written. */
const lastGroups = (image: Image): Beyond => {
  const path = image.paths().findLast((name) => name.includes("/log-")) ?? ""
  const bytes = Buffer.from(image.read(path) ?? [])
  const starts: Array<number> = []
  for (
    let at = SEGMENT_HEADER_BYTES;
    bytes.readUInt32LE(at) === GROUP_MAGIC;
    at += bytes.readUInt32LE(at + 8)
  ) starts.push(at)
  return { path, from: starts.at(-2) ?? 0, until: starts.at(-1) ?? 0 }
}

/** As it is found after SIGKILL, when the mark of the last commit is written. */
const killed = Broken.onDisk(
  undefined,
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    return yield* Broken.opened(Effect.gen(function*() {
      yield* work
      const { wal } = (yield* Store.Store).machine.parts
      const { marks } = wal.counters
      while (wal.counters.marks === marks) yield* Effect.sleep(1)
      yield* Effect.sleep(2)
      return faults.killImage()
    }))
  })
)
const closed = Broken.imageAfter(work)

interface Counts {
  right: number
  readonly refused: Map<string, number>
}

/** Opens an image that something was done to, and notes what came of it. */
const judge = (name: string, image: Image, expected: ReadonlyArray<string>, counts: Counts) =>
  Effect.gen(function*() {
    const found = yield* Broken.onDisk(image, Broken.outcome()).pipe(
      Effect.timeoutOption(10_000),
      Effect.catchCause((cause) => Effect.die(new Error(`${name}: ${String(cause)}`)))
    )
    if (Option.isNone(found)) throw new Error(`${name}: it hangs`)
    if (!("_tag" in found.value)) {
      counts.right++
      if (String(found.value) !== String(expected)) assert.deepStrictEqual(found.value, expected, name)
    } else {
      const reason = found.value
      if (!allowed.includes(reason._tag)) assert.fail(`${name}: ${reason.message}`)
      counts.refused.set(reason._tag, (counts.refused.get(reason._tag) ?? 0) + 1)
    }
  })

/** What rot may be called; a `Defective` actor is a defect by another name. */
const allowed: ReadonlyArray<Reason["_tag"]> = ["Corrupted", "FormatTooNew"]

const report = (title: string, cases: number, { refused, right }: Counts) => {
  const reasons = [...refused].map(([tag, count]) => `${count} ${tag}`).join(", ")
  console.log(`${title}: ${cases} cases, ${right} right, ${reasons}`)
}

const filesOf = (image: Image) =>
  image.paths().filter((path) => !/\/lock/.test(path)).map((path) =>
    [path, image.read(path) ?? new Uint8Array(0)] as const
  )

/** All cases take some minutes (`HEARTWOOD_ROT=all`); by default every third byte and every seventh length is tried. */
const every = (step: number): number => process.env["HEARTWOOD_ROT"] === "all" ? 1 : step

/** Judges each of many cases. */
const all = (
  title: string,
  image: Image,
  cases: Iterable<readonly [name: string, image: Image]>
) =>
  Effect.gen(function*() {
    const expected = yield* Broken.onDisk(image, Broken.outcome())
    if ("_tag" in expected) return assert.fail(`the store itself does not open: ${expected.message}`)
    assert.isAbove(expected.length, 40)
    const counts: Counts = { right: 0, refused: new Map() }
    let count = 0
    for (const [name, broken] of cases) {
      yield* judge(name, broken, expected, counts)
      count++
    }
    report(title, count, counts)
    return counts
  })

/** One bit of a byte; long runs of zeros, where all bytes are alike, are tried more sparsely. */
const flips = function*(image: Image) {
  for (const [path, bytes] of filesOf(image)) {
    for (
      let at = 0;
      at < bytes.length;
      at += every(
        bytes.subarray(at, at + 32).some((byte) => byte > 0)
          ? 3
          : 29
      )
    ) {
      const broken = bytes.slice()
      broken[at] = (broken[at] as number) ^ (1 << (at * 5 + (at >>> 3)) % 8)
      yield [`${path}: a bit of byte ${at}`, image.replace(path, broken)] as const
    }
  }
}

const cuts = function*(image: Image) {
  for (const [path, bytes] of filesOf(image)) {
    for (
      let length = 0;
      length < bytes.length;
      length += every(length % 512 < 2 || length % 512 > 509 ? 1 : 7)
    ) {
      yield [`${path}: cut to ${length} bytes`, image.replace(path, bytes.slice(0, length))] as const
    }
  }
}

/** Sectors that were written over: with zeros, with garbage, with those of another place. */
const sectors = function*(image: Image, beyond: Beyond | undefined) {
  const { bytes: garbage } = random(5)
  for (const [path, bytes] of filesOf(image)) {
    for (let at = 0; at < bytes.length; at += 512) {
      if (path === beyond?.path && at <= beyond.from && at + 512 > beyond.until) continue
      const other = bytes.slice((at + 4096) % bytes.length, (at + 4096) % bytes.length + 512)
      for (
        const [kind, sector] of [["zeros", new Uint8Array(512)], ["garbage", garbage(512)], [
          "another's",
          other
        ]] as const
      ) {
        const broken = bytes.slice()
        broken.set(sector.subarray(0, bytes.length - at), at)
        yield [`${path}: ${kind} in the sector at ${at}`, image.replace(path, broken)] as const
      }
      const longer = new Uint8Array(bytes.length + 512)
      longer.set(bytes)
      longer.set(bytes.subarray(at, at + 512), bytes.length)
      yield [`${path}: longer by the sector at ${at}`, image.replace(path, longer)] as const
    }
  }
}

/** Files that are missing, stand under another's name, were swapped, or come from elsewhere. */
const files = function*(image: Image, elsewhere: ReadonlyArray<readonly [string, Image]>) {
  const found = filesOf(image)
  for (const [path, bytes] of found) {
    yield [`${path} is missing`, image.replace(path, undefined)] as const
    for (const [from, others] of found) {
      if (from === path) continue
      yield [`${from} under the name of ${path}`, image.replace(path, others)] as const
      yield [`${from} and ${path} swapped`, image.replace(path, others).replace(from, bytes)] as const
    }
    for (const [name, other] of elsewhere) {
      for (const [from, others] of filesOf(other)) {
        yield [`${path} is ${from} of ${name}`, image.replace(path, others)] as const
      }
    }
  }
}

/** The same store some commits ago, and a store that did the same. */
const elsewhere = Effect.gen(function*() {
  const other = yield* Broken.imageAfter(work)
  return [["another store", other]] as const
})

for (
  const [name, make, limit] of [
    ["closed", closed, () => undefined],
    ["killed after its last mark", killed, lastGroups]
  ] as const
) {
  describe(`a store that was ${name}`, () => {
    const title = (what: string) => `${what} of a store that was ${name}`

    it.live("one bit of every byte", () =>
      Effect.gen(function*() {
        const image = yield* make
        yield* all(title("flipped bits"), image, flips(image))
      }), 1_200_000)

    it.live("every length of every file", () =>
      Effect.gen(function*() {
        const image = yield* make
        yield* all(title("lengths"), image, cuts(image))
      }), 1_200_000)

    it.live("every sector", () =>
      Effect.gen(function*() {
        const image = yield* make
        yield* all(title("sectors"), image, sectors(image, limit(image)))
      }))

    it.live("every file", () =>
      Effect.gen(function*() {
        const image = yield* make
        yield* all(title("files"), image, files(image, yield* elsewhere))
      }))
  })
}
