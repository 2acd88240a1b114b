/**
 * Rot: whatever happens to the bytes of a store at rest, opening it and reading everything gives the right data or a
 * typed error that names a file and a byte; never wrong or missing data, a defect, a hang, or an empty store.
 *
 * One store is small enough for every byte of it: one bit of each is flipped. Of the bytes with something in them or
 * near them every fourth is opened; the others, and the zeros between them, are looked at offline, or given to the one
 * decoder that reads them, and a part of them opened. Of the bytes that nobody reads hardly any is (`rotMeans.ts` has the
 * reasons; `HEARTWOOD_ROT=all`: all bits of the bytes that are read, opened and looked at, and every length, half an
 * hour; `HEARTWOOD_ROT=0:50` is a twentieth of that). Lengths: every 61st and all beside a boundary of sectors.
 * Another store, with some segments and reopened by nobody, is tried here and there.
 *
 * The one limit: of a killed store the very last group is below no mark until the mark after it is written. So what
 * hits that group and its mark at once takes both away unnoticed, and is left out. So would be a log that is put back
 * as it was after the newest checkpoint: nothing else says what followed that.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import * as Broken from "./support/broken.ts"
import type { Title } from "./support/figures.ts"
import { figure, isAsked } from "./support/figures.ts"
import { random } from "./support/random.ts"
import type { Counts, Range } from "./support/rot.ts"
import {
  counts,
  filesOf,
  judge,
  limitOf,
  line,
  look,
  outcomeOf,
  small as makeSmall,
  withFile
} from "./support/rot.ts"
import { readOf, RotMeans } from "./support/rotMeans.ts"
import { part } from "./support/rotPart.ts"
import type { Part } from "./support/rotPart.ts"
import { upTo } from "./support/stores.ts"

const { directory, Words } = Broken
const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const sectorBytes = 512

const small = Effect.runSync(Effect.cached(makeSmall))

/** Overwritten, removed and large values, over two checkpoints and some segments of the log; closed. */
const closed = Effect.runSync(Effect.cached(Broken.imageAfter(Effect.gen(function*() {
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
}))))

const report = (title: Title, damages: number, to: Counts): void => {
  const { cases, found, looked, right } = to
  figure(title, { damages, opened: cases, right, looked, found }, line(to))
}

/** What is done to an image: its name, and the image; absent where nothing would change. */
type Case = readonly [name: string, image: Image]

const changed = (image: Image, path: string, edit: (bytes: Uint8Array) => void): Image => {
  const bytes = Uint8Array.from(image.read(path) ?? [])
  edit(bytes)
  return image.replace(path, bytes)
}

/** Whether damage to some parts hits the last group and its mark at once. */
const isBeyond = (limit: ReturnType<typeof limitOf>, parts: ReadonlyArray<Range>): boolean => {
  const hits = (from: number, until: number): boolean =>
    parts.some((part) => part.path === limit.path && part.from < until && part.until > from)
  return hits(limit.from, limit.mark) && hits(limit.mark, limit.until)
}

const sectorsOf = (path: string, bytes: Uint8Array): ReadonlyArray<Range> =>
  upTo(Math.ceil(bytes.length / sectorBytes)).map((index) => ({
    path,
    from: index * sectorBytes,
    until: Math.min(bytes.length, (index + 1) * sectorBytes)
  }))

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Sectors of zeros, of garbage, as they were earlier, and exchanged with each other one of the file. */
const sectors = function*(image: Image, earlier: Image | undefined, limit?: ReturnType<typeof limitOf>) {
  const { bytes: garbage } = random(seed)
  for (const [path, bytes] of filesOf(image)) {
    const ranges = sectorsOf(path, bytes)
    const within = ({ from, until }: Range): Uint8Array => bytes.subarray(from, until)
    for (const [index, range] of ranges.entries()) {
      const old = earlier?.read(path)?.subarray(range.from, range.until)
      const others: ReadonlyArray<readonly [string, Uint8Array | undefined]> = [
        ["zeros", new Uint8Array(range.until - range.from)],
        ["garbage", garbage(range.until - range.from)],
        ["what was there earlier", old]
      ]
      const isLost = limit !== undefined && isBeyond(limit, [range])
      for (const [kind, sector] of others) {
        if (sector === undefined || isLost || isSame(sector, within(range))) continue
        yield [
          `${path}: ${kind} at ${range.from}`,
          changed(image, path, (to) => to.set(sector, range.from))
        ] as const
      }
      for (const other of ranges.slice(index + 1)) {
        if (isSame(within(range), within(other))) continue
        if (limit !== undefined && isBeyond(limit, [range, other])) continue
        const swapped = changed(image, path, (to) => {
          to.set(within(other), range.from)
          to.set(within(range).subarray(0, other.until - other.from), other.from)
        })
        yield [`${path}: ${range.from} and ${other.from} exchanged`, swapped] as const
      }
    }
  }
}

/** Every 61st length, and all beside a boundary; of a file that nobody reads, only its size can matter: fewer. */
const cuts = function*(image: Image, read: ReadonlyMap<string, Uint8Array>): Generator<Case> {
  let index = 0
  for (const [path, bytes] of filesOf(image)) {
    const [step, unit] = read.get(path)?.includes(1) === true ? [61, sectorBytes] : [509, 8 * sectorBytes]
    for (let length = 0; length < bytes.length; length++) {
      const beside = length % unit < 2 || length % unit > unit - 2
      const isDue = part?.isDue(index++) ?? (beside || length % step === 0)
      if (!isDue) continue
      yield [`${path}: cut to ${length} bytes`, image.replace(path, bytes.slice(0, length))]
    }
  }
}

/** Something behind the end of a file. */
const tails = function*(image: Image): Generator<Case> {
  const { bytes: garbage } = random(seed)
  for (const [path, bytes] of filesOf(image)) {
    const more = [garbage(1), garbage(511), garbage(4_096), new Uint8Array(4_096), bytes]
    for (const [index, tail] of more.entries()) {
      yield [`${path}: tail ${index}`, image.replace(path, Buffer.concat([bytes, tail]))]
    }
  }
}

/** Names that a store may have beside those that are there. */
const free = [
  "log-0000000000000002",
  "log-00000000000000ff",
  "super.new",
  "log.spare",
  "log.new",
  "scratch",
  "damaged"
]

/** Files that are missing, stand under another's name too, were exchanged, are older, or come from elsewhere. */
const files = function*(
  image: Image,
  { elsewhere, roomy }: {
    readonly elsewhere: ReadonlyArray<readonly [string, Image]>
    readonly roomy: ReadonlyArray<readonly [string, Image]>
  }
): Generator<Case> {
  const found = filesOf(image)
  for (const [path, bytes] of found) {
    yield [`${path} is missing`, image.replace(path, undefined)]
    yield [`${path} is empty`, image.replace(path, new Uint8Array(0))]
    for (const [copy, free] of roomy) yield [`${path} as ${copy}, too`, free.replace(copy, bytes)]
    for (const [from, others] of found) {
      if (from === path) continue
      yield [`${from} under the name of ${path}`, image.replace(path, others)]
      yield [`${from} and ${path} exchanged`, image.replace(path, others).replace(from, bytes)]
    }
    for (const [name, other] of elsewhere) {
      for (const [from, others] of filesOf(other)) {
        yield [`${path} is ${from} of ${name}`, image.replace(path, others)]
      }
    }
  }
}

/** The same image with an empty file under each of these names. */
const roomyOf = (image: Image) =>
  Effect.forEach(
    free.map((name) => `${directory}/${name}`).filter((path) => !image.paths().includes(path)),
    (path) => Effect.map(withFile(image, path), (free) => [path, free] as const)
  )

/** Judges each of many cases; every so many are looked at offline, too. */
const judged = (
  title: string,
  cases: Iterable<Case>,
  expected: ReadonlyArray<string>,
  read?: typeof Broken.readAll
) =>
  Effect.gen(function*() {
    const to = counts()
    for (const [name, image] of cases) {
      yield* judge(name, image, expected, to, read)
      if (to.cases % 8 === 0) yield* look(name, image, to)
    }
    assert.isAbove(to.cases, part === undefined ? 10 : 0)
    report(`X2 ${title}`, to.cases, to)
    return to
  })

const bitAt = (at: number): number => 1 << (at * 5 + (at >>> 3) + seed) % 8

/** Flips one bit of every byte, which is opened, looked at, or decoded. */
const flips = (image: Image, expected: ReadonlyArray<string>, to: Counts) =>
  Effect.gen(function*() {
    const done = { bytes: 0, decoded: 0, unread: 0 }
    const rot = new RotMeans(image, yield* readOf(image), seed)
    for (const [path, bytes] of filesOf(image)) {
      for (let at = 0; at < bytes.length; at++) {
        done.bytes++
        const means = rot.of(path, bytes, at)
        if (means === "unread") {
          done.unread++
          continue
        }
        const { broken, name } = flipped(path, bytes, at, bitAt(at))
        if (means === "open") yield* judge(name, image.replace(path, broken), expected, to)
        if (means === "look") yield* look(name, image.replace(path, broken), to)
        if (means !== "decode") continue
        assert.isTrue(rot.refuses(path, broken, at), name)
        done.decoded++
      }
    }
    return done
  })

/** Flips every bit that is due of the bytes that somebody reads, and opens and looks at each; answers how many. */
const allFlips = (image: Image, expected: ReadonlyArray<string>, to: Counts, { isDue }: Part) =>
  Effect.gen(function*() {
    const rot = new RotMeans(image, yield* readOf(image), seed)
    let index = 0
    let done = 0
    for (const [path, bytes] of filesOf(image)) {
      for (let at = 0; at < bytes.length; at++) {
        if (rot.of(path, bytes, at) === "unread") continue
        for (let bit = 1; bit < 256; bit <<= 1) {
          if (!isDue(index++)) continue
          const { broken, name } = flipped(path, bytes, at, bit)
          yield* judge(name, image.replace(path, broken), expected, to)
          yield* look(name, image.replace(path, broken), to)
          done++
        }
      }
    }
    return done
  })

const flipped = (path: string, bytes: Buffer, at: number, bit: number) => {
  const broken = Buffer.from(bytes)
  broken[at] = (broken[at] as number) ^ bit
  return { broken, name: `${path}: bit ${bit} of byte ${at}` }
}

describe("a small store, killed after its last mark", () => {
  it.live("is what it is, and nothing is wrong with it", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* small
      assert.strictEqual(expected.length, 49)
      assert.deepStrictEqual(yield* outcomeOf("the store", image), { _tag: "Rows", rows: expected })
      assert.isFalse(yield* look("the store", image, counts()))
    }))

  it.live("with a bit of any byte flipped", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* small
      const to = counts()
      if (part !== undefined) {
        const damages = yield* allFlips(image, expected, to, part)
        assert.strictEqual(to.cases + to.looked, 2 * damages)
        return report("X1 flipped bits", damages, to)
      }
      const { bytes, decoded, unread } = yield* flips(image, expected, to)
      assert.strictEqual(to.cases + to.looked + decoded + unread, bytes)
      report("X1 flipped bits", bytes, to)
      if (isAsked) console.log(`X1 flipped bits, ${decoded} decoded, ${unread} read by nobody`)
    }), 3_600_000)

  it.live("with files of any length", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* small
      yield* judged("lengths", cuts(image, yield* readOf(image)), expected)
      yield* judged("tails of garbage", tails(image), expected)
    }), 1_200_000)

  it.live("with sectors of zeros, garbage, another's, or older ones", () =>
    Effect.gen(function*() {
      const { earlier, expected, image } = yield* small
      yield* judged("sectors", sectors(image, earlier, limitOf(image)), expected)
    }), 600_000)

  it.live(
    "with files that are missing, doubled, exchanged, older, or another store's",
    () =>
      Effect.gen(function*() {
        const { earlier, expected, image } = yield* small
        const other = yield* makeSmall
        const elsewhere = [["the same store, younger", earlier], ["another store", other.image]] as const
        yield* judged("files", files(image, { elsewhere, roomy: yield* roomyOf(image) }), expected)
      }),
    600_000
  )
})

describe("a store with some segments, closed", () => {
  it.live("here and there", () =>
    Effect.gen(function*() {
      const image = yield* closed
      const found = yield* outcomeOf("the store", image, Broken.readAll)
      if (found._tag === "Refused") return assert.fail(found.reason.message)
      assert.isAbove(found.rows.length, 40)
      const isDue = part?.isDue ?? ((index: number) => index % 16 === 0)
      const some = [...sectors(image, undefined)].filter((_, index) => isDue(index))
      yield* judged("sectors of a closed store", some, found.rows, Broken.readAll)
      yield* judged(
        "files of a closed store",
        files(image, { elsewhere: [], roomy: [] }),
        found.rows,
        Broken.readAll
      )
    }), 1_200_000)
})
