/**
 * Verifying a store that something was done to, on purpose and one thing at a time: there is a finding, and it names the
 * file and the place. And whatever hostile hands make of it, with every checksum right, looking ends, and throws nothing.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import { fileOffset, parseSegmentName } from "../src/log/Segment.ts"
import { superblockOffset } from "../src/log/Superblock.ts"
import type { Superblock } from "../src/log/Superblock.ts"
import * as Salvage from "../src/Salvage.ts"
import type { Catalog, KeyspaceEntry } from "../src/tree/file/Catalog.ts"
import * as Leaf from "../src/tree/page/Leaf.ts"
import * as MiniPage from "../src/tree/page/MiniPage.ts"
import * as Page from "../src/tree/page/Page.ts"
import * as Verify from "../src/Verify.ts"
import { Forge, groupsOf, rechain } from "./support/forge.ts"
import { random } from "./support/random.ts"
import { target, world } from "./support/salvageWorld.ts"
import { directory } from "./support/storeDoor.ts"

/** Three levels of pages, two of the map table, mini-pages, large values, dozens of segments, two checkpoints. */
const made = Effect.runSync(Effect.cached(world(31, { size: "tight", buffer: "miniPages" }, 150)))

const pagesPath = `${directory}/pages`
const superPath = `${directory}/super`

type Subject = Verify.Finding["subject"]

interface Case {
  readonly name: string
  readonly image: Image
  /** Absent: whatever it hits first. */
  readonly subject?: Subject
  readonly path: string
  /** The finding is at or above the first, below the second. */
  readonly at: readonly [number, number]
}

const segmentsOf = (image: Image): ReadonlyArray<string> =>
  image.paths().filter((path) => /\/log-/.test(path))
const bytesOf = (image: Image, path: string): Buffer => {
  const bytes = Buffer.alloc((image.read(path) ?? []).length)
  bytes.set(image.read(path) ?? [])
  return bytes
}

const looking = (image: Image) => Effect.provide(Verify.verifyDisk({ path: directory }), layer({ image }))

/** The segment in which a cut lies, and all that is retained. */
const retained = (image: Image, { begin }: Superblock): ReadonlyArray<string> =>
  segmentsOf(image).filter((path) => (parseSegmentName(path.split("/").at(-1) ?? "") ?? 0) >= begin.sequence)

/** Slots of the newest checkpoint by what stands in them. */
const anatomy = (forge: Forge) => {
  const leaves = forge.leaves()
  const inner = forge.inner()
  const packed = forge.ids().filter((id) => forge.packOf(id) !== 0)
  return [
    ["page", forge.slotOf(leaves[40] as number)],
    ["page", forge.slotOf(leaves[3] as number)],
    ["page", forge.slotOf(inner[0] as number)],
    ["page", forge.slotOf(inner.at(-1) as number)],
    ["mini-page", forge.packOf(packed[0] as number)],
    ["map table", (forge.chunks[0] as { slot: number }).slot],
    ["map table", (forge.chunks[2] as { slot: number }).slot],
    ["catalog", forge.catalogSlots[0] as number],
    ["catalog", forge.catalogSlots[1] as number],
    ["page file", 0]
  ] as const
}

/** Rot: bits, sectors, places. */
const rot = function*(image: Image): Generator<Case> {
  const forge = new Forge(image, directory)
  const { pageBytes } = forge
  const chance = random(1)
  for (const [subject, slot] of anatomy(forge)) {
    const at = [slot * pageBytes, (slot + 1) * pageBytes] as const
    const change = (name: string, edit: (page: Buffer) => void) => {
      const pages = bytesOf(image, pagesPath)
      edit(pages.subarray(...at))
      const changed = image.replace(pagesPath, pages)
      return { name: `${name} in slot ${slot}`, image: changed, subject, path: pagesPath, at }
    }
    for (let times = 0; times < 4; times++) {
      yield change("a bit", (page) => {
        const byte = chance.int(pageBytes)
        page[byte] = (page[byte] as number) ^ 1 << chance.int(8)
      })
    }
    yield change("zeros", (page) => page.fill(0, 0, 512))
    yield change("another page", (page) => page.set(forge.slot(slot === 0 ? 1 : 0)))
    if (slot > 0) {
      yield {
        name: `cut in slot ${slot}`,
        image: image.replace(pagesPath, bytesOf(image, pagesPath).subarray(0, slot * pageBytes + 100)),
        path: pagesPath,
        at: [slot * pageBytes, 1e9]
      }
    }
  }
  const [a, b] = [forge.leaves()[1] as number, forge.leaves()[2] as number].map((id) => forge.slotOf(id))
  const swapped = bytesOf(image, pagesPath)
  swapped.set(forge.slot(a as number), (b as number) * pageBytes)
  swapped.set(forge.slot(b as number), (a as number) * pageBytes)
  const at = [(a as number) * pageBytes, (a as number) * pageBytes + 1] as const
  yield {
    name: "leaves swapped",
    image: image.replace(pagesPath, swapped),
    subject: "page",
    path: pagesPath,
    at
  }
  const { superblock } = forge
  for (const [index, offset] of [superblockOffset(0), superblockOffset(1)].entries()) {
    const bytes = bytesOf(image, superPath)
    bytes[offset + 70] = (bytes[offset + 70] as number) ^ 4
    const changed = image.replace(superPath, bytes)
    const place = { subject: "superblock", path: superPath, at: [offset, offset + 4096] } as const
    yield { name: `superblock ${index}`, image: changed, ...place }
  }
  yield* logRot(image, superblock)
}

const logRot = function*(image: Image, superblock: Superblock): Generator<Case> {
  const segments = retained(image, superblock)
  for (const path of [segments[0], segments[5], segments.at(-2)] as ReadonlyArray<string>) {
    const head = bytesOf(image, path)
    head[50] = (head[50] as number) ^ 1
    yield {
      name: "a segment's header",
      image: image.replace(path, head),
      subject: "segment",
      path,
      at: [0, 4096]
    }
    const groups = groupsOf(bytesOf(image, path))
    const middle = groups[groups.length >>> 1] as number
    const end = middle + bytesOf(image, path).readUInt32LE(middle + 8)
    const broken = bytesOf(image, path)
    broken[end - 5] = (broken[end - 5] as number) ^ 2
    const place = { subject: "group", path, at: [middle, end] } as const
    yield { name: "a group", image: image.replace(path, broken), ...place }
    const zeros = bytesOf(image, path).fill(0, middle)
    yield { name: "groups of zeros", image: image.replace(path, zeros), ...place }
    const cut = bytesOf(image, path).subarray(0, middle + 8)
    yield { name: "a segment that is cut", image: image.replace(path, cut), ...place }
    yield {
      name: "a missing segment",
      image: image.replace(path, undefined),
      subject: "segment",
      path,
      at: [0, 1]
    }
  }
  const [one, two] = [segments[2], segments[3]] as [string, string]
  const swapped = image.replace(one, bytesOf(image, two)).replace(two, bytesOf(image, one))
  yield { name: "segments swapped", image: swapped, subject: "segment", path: one, at: [0, 4096] }
}

/** Defects: what is wrong although every checksum is right. */
const defects = function*(image: Image): Generator<Case> {
  type Change = (forge: Forge) => readonly [Subject, number] | readonly [Subject, number, string]
  const forged = (name: string, change: Change): Case => {
    const forge = new Forge(image, directory)
    const [subject, slot, path = pagesPath] = change(forge)
    const at = [slot * forge.pageBytes, (slot + 1) * forge.pageBytes] as const
    return { name, image: forge.done(), subject, path, at }
  }
  const catalog = (
    name: string,
    change: (catalog: Catalog) => Catalog,
    subject: Subject = "keyspace"
  ) =>
    forged(name, (forge) => {
      forge.catalog = change(forge.catalog)
      return [subject, forge.catalogSlots[0] as number]
    })
  const first =
    (change: (entry: KeyspaceEntry) => Partial<KeyspaceEntry>) => (catalog: Catalog): Catalog => ({
      ...catalog,
      keyspaces: catalog.keyspaces.map((entry, index) => index === 0 ? { ...entry, ...change(entry) } : entry)
    })
  yield catalog("a wrong count", first(({ count }) => ({ count: count + 1 })))
  yield catalog("a wrong number of unresolved", first(({ unresolved }) => ({ unresolved: unresolved + 1 })))
  yield catalog("a tree of two", first(() => ({ treeId: 4_000_000 })))
  yield catalog("a keyspace of another id", first(() => ({ id: 60_000 })), "catalog")
  yield catalog(
    "a wrong charge",
    first(({ segments }) => ({ segments: segments.map((each) => ({ ...each, bytes: each.bytes + 8 })) }))
  )
  yield catalog(
    "a segment that holds nothing",
    first(({ segments }) => ({
      segments: [...segments, { base: 8, bytes: 24 }]
    }))
  )
  yield forged("a keyspace that is gone", (forge) => {
    const [gone, ...keyspaces] = forge.catalog.keyspaces
    forge.catalog = { ...forge.catalog, keyspaces }
    return ["page", forge.slotOf((gone as KeyspaceEntry).root)]
  })
  yield forged("a child twice", (forge) => {
    const id = forge.inner().find((each) => Page.level(forge.words(each), 0) === 1) as number
    const children = forge.childrenOf(id)
    children[1] = children[0] as number
    return ["page", forge.slotOf(children[0] as number)]
  })
  yield forged("children exchanged", (forge) => {
    const id = forge.inner().find((each) => Page.level(forge.words(each), 0) === 1) as number
    const children = forge.childrenOf(id)
    const [a, b] = [children[0] as number, children[1] as number]
    children.set([b, a])
    return ["page", forge.slotOf(a)]
  })
  yield forged("a leaf of another tree", (forge) => {
    const id = forge.leaves()[7] as number
    forge.words(id)[3] = 77
    return ["page", forge.slotOf(id)]
  })
  yield forged("keys out of order", (forge) => {
    const id = forge.leaves().find((each) => Page.count(forge.words(each), 0) > 3) as number
    const words = forge.words(id)
    const [heads, metas] = [Page.headerWords, Page.headerWords + Page.capacity(words, 0)]
    for (const from of [heads, metas]) {
      const [a, b] = [words[from] as number, words[from + 1] as number]
      words[from] = b
      words[from + 1] = a
    }
    return ["page", forge.slotOf(id)]
  })
  yield forged("a page id without an image", (forge) => {
    forge.entry(forge.leaves()[9] as number).fill(0)
    return ["page", 0]
  })
  yield forged("a slot of two pages", (forge) => {
    const [a, b] = [forge.leaves()[9] as number, forge.leaves()[10] as number]
    forge.entry(b).set(forge.entry(a))
    return ["page", forge.slotOf(a)]
  })
  yield forged("a slot outside of the file", (forge) => {
    const id = forge.leaves()[9] as number
    forge.entry(id).writeUInt32LE(3_000_000_000, 0)
    const chunk = forge.chunks.find(({ index, level }) => level === 0 && index === Math.floor(id / 62))
    return ["page", (chunk as { slot: number }).slot]
  })
  yield forged("a mini-page that is wrong of its base page", (forge) => {
    const id = forge.ids().find((each) => forge.packOf(each) !== 0) as number
    const page = forge.slot(forge.packOf(id))
    const words = new Int32Array(page.buffer, page.byteOffset, page.length >>> 2)
    const record = Leaf.recordAt(words, 8, 0)
    words[record] = (words[record] as number) | (MiniPage.Flag.isNew | MiniPage.Flag.replaces) << 24
    return ["mini-page", forge.packOf(id)]
  })
  for (const [name, word, value] of [["length", 2, 5], ["checksum", 3, 6]] as const) {
    yield forged(`a large value of another ${name}`, (forge) => {
      for (const id of forge.leaves()) {
        const words = forge.words(id)
        for (let index = 0; index < Page.count(words, 0); index++) {
          const record = Leaf.recordAt(words, 0, index)
          if (Leaf.kindAt(words, record) !== Leaf.Kind.Reference || forge.packOf(id) !== 0) continue
          const at = Leaf.valueAt(words, record, Page.slotBytes(words, 0, index))
          words[at + word] = (words[at + word] as number) ^ value
          const lsn = Page.readLsn(words, at)
          const path = segmentsOf(image).findLast((each) => baseOf(image, each) <= lsn) as string
          const offset = fileOffset({ base: baseOf(image, path) } as never, lsn)
          return ["large value", Math.floor(offset / forge.pageBytes), path]
        }
      }
      throw new Error("no large value")
    })
  }
  yield* superblocks(image)
}

const baseOf = (image: Image, path: string): number => Number(bytesOf(image, path).readBigUInt64LE(40))

/** A superblock that says something else. */
const superblocks = function*(image: Image): Generator<Case> {
  const { superblock } = new Forge(image, directory)
  const at = [superblockOffset(superblock.slot), superblockOffset(superblock.slot) + 4096] as const
  const forged = (name: string, change: Partial<Superblock>, where: Partial<Case> = {}): Case => ({
    name,
    image: new Forge(image, directory).withSuperblock({ ...superblock, ...change }),
    subject: "superblock",
    path: superPath,
    at,
    ...where
  })
  const { cut, map } = superblock
  yield forged("another chain at the cut", {
    cut: { ...cut, previousChecksum: (cut.previousChecksum ^ 1) >>> 0 }
  })
  yield forged("a cut inside a group", { cut: { ...cut, lsn: cut.lsn - 8 } })
  yield forged("pages of 1000 bytes", { pageBytes: 1000 })
  yield forged("pages of 2048 bytes", { pageBytes: 2048 }, {
    subject: "page file",
    path: pagesPath,
    at: [0, 1]
  })
  const root = map.slot * superblock.pageBytes
  const mapTable = { subject: "map table", path: pagesPath, at: [root, root + superblock.pageBytes] } as const
  yield forged("a map of 300 levels", { map: { ...map, level: 300 } }, mapTable)
  yield forged("few page ids", { pageIds: 4 }, { ...mapTable, at: [0, 1e9] })
  yield forged("few slots", { slots: 4 }, { ...mapTable, at: [0, 1] })
  yield forged("few keyspaces", { nextKeyspace: 1 }, { subject: "keyspace", path: pagesPath, at: [0, 1e9] })
  const last = segmentsOf(image).at(-1) as string
  yield forged("a durable LSN that the log does not have", { durableLsn: cut.lsn + 8_000_000 }, {
    subject: "group",
    path: last,
    at: [0, 1e9]
  })
}

/** Records that a store would never write, in a log whose chain is right. */
const records = function*(image: Image): Generator<Case> {
  const dataIn = (path: string): number | undefined => {
    const segment = bytesOf(image, path)
    return groupsOf(segment).findLast((at) => segment.readUInt8(at + 14) === 1)
  }
  const path = segmentsOf(image).findLast((each) => dataIn(each) !== undefined) as string
  const segment = bytesOf(image, path)
  const start = dataIn(path) as number
  segment.writeUInt32LE(9_999, start + 64 + 24 + 8)
  const at = [start, start + segment.readUInt32LE(start + 8)] as const
  const changed = image.replace(path, rechain(segment, start))
  yield { name: "a write to a keyspace that is not there", image: changed, subject: "group", path, at }
}

const expectFound = ({ at, image, name, path, subject }: Case) =>
  Effect.gen(function*() {
    const { findings } = yield* looking(image)
    const right = findings.some((finding) =>
      (subject === undefined || finding.subject === subject) && finding.path === path &&
      finding.offset >= at[0] &&
      finding.offset < at[1]
    )
    const listed = findings.slice(0, 6).map((finding) =>
      `${finding.subject} ${finding.path} ${finding.offset} ${finding.expected} ${finding.actual}`
    )
    assert.isTrue(right, `${name}: ${subject} ${path} ${at} is not among ${listed.join("; ")}`)
    for (const { advice, offset } of findings) {
      assert.isAbove(advice.length, 20)
      assert.isTrue(Number.isSafeInteger(offset) && offset >= 0)
    }
  })

/** A store that was killed, with commits above its newest checkpoint. */
const killed = Effect.runSync(Effect.cached(
  Effect.gen(function*() {
    const { earlier } = yield* made
    return earlier.at(-1) as Image
  })
))

describe("what is planted is found", () => {
  it.live("nothing, where nothing is", () =>
    Effect.gen(function*() {
      const { image } = yield* made
      assert.deepStrictEqual((yield* looking(image)).findings, [])
      assert.deepStrictEqual((yield* looking(yield* killed)).findings, [])
      assert.deepStrictEqual((yield* looking(new Forge(image, directory).done())).findings, [])
    }))

  it.live("rot", () =>
    Effect.gen(function*() {
      for (const each of rot((yield* made).image)) yield* expectFound(each)
    }), 60_000)

  it.live("defects under checksums that are right", () =>
    Effect.gen(function*() {
      for (const each of defects((yield* made).image)) yield* expectFound(each)
      const inLog = [...records(yield* killed)]
      assert.strictEqual(inLog.length, 1)
      for (const each of inLog) yield* expectFound(each)
    }), 60_000)

  it.live("a store without its superblocks, or its pages", () =>
    Effect.gen(function*() {
      const { image } = yield* made
      const without = yield* looking(image.replace(superPath, undefined))
      assert.deepStrictEqual(without.findings.map(({ path, subject }) => [subject, path]), [[
        "superblock",
        superPath
      ]])
      const pages = yield* looking(image.replace(pagesPath, undefined))
      assert.isTrue(pages.findings.some(({ path }) => path === pagesPath))
    }))

  it.live("no more findings than asked for", () =>
    Effect.gen(function*() {
      const image = (yield* made).image.replace(pagesPath, undefined)
      const report = yield* Effect.provide(
        Verify.verifyDisk({ path: directory, findings: 2 }),
        layer({ image })
      )
      assert.strictEqual(report.findings.length, 2)
      assert.isAbove(report.more, 0)
    }))

  it.live("not where there is no store", () =>
    Effect.gen(function*() {
      const nowhere = yield* Effect.exit(Effect.provide(Verify.verifyDisk({ path: "/nowhere" }), layer()))
      assert.isTrue(Exit.isFailure(nowhere))
      const error = Exit.findErrorOption(nowhere)
      assert.isTrue(error._tag === "Some" && error.value.reason._tag === "NotAStore")
    }))
})

/** Fields that are drawn, under checksums that are right. */
const hostile = (image: Image, seed: number): Image => {
  const chance = random(seed)
  const forge = new Forge(image, directory)
  const pick = (): Buffer => {
    const kind = chance.int(5)
    const ids = forge.ids()
    if (kind === 0) return forge.slot(chance.pick(forge.chunks).slot)
    if (kind === 1) return forge.slot(forge.slotOf(chance.pick(forge.inner())))
    if (kind === 2) {
      const packed = ids.filter((id) => forge.packOf(id) !== 0)
      if (packed.length > 0) return forge.slot(forge.packOf(chance.pick(packed)))
    }
    return forge.slot(forge.slotOf(chance.pick(ids)))
  }
  for (let left = 1 + chance.int(3); left > 0; left--) {
    const page = pick()
    const at = chance.bool(0.6) ? chance.int(24) * 4 : chance.int(page.length >>> 2) * 4
    if (page.length < at + 4) continue
    const before = page.readUInt32LE(at)
    const value = chance.pick([0, 1, 0xffff_ffff, 0x7fff_ffff, before + 1, before ^ 1 << chance.int(31)])
    page.writeUInt32LE(value >>> 0, at)
  }
  return forge.done()
}

describe("hostile files", () => {
  it.live(
    "end in findings, or a store that is as it should be; and what can be saved is",
    () =>
      Effect.gen(function*() {
        const { image, options } = yield* made
        let found = 0
        for (let seed = 1; seed <= 100; seed++) {
          const changed = hostile(image, seed)
          const exit = yield* Effect.exit(looking(changed))
          if (Exit.isFailure(exit)) throw new Error(`seed ${seed}: ${exit.cause}`)
          if (exit.value.findings.length > 0) found++
          if (seed % 5 > 0) continue
          const salvage = Salvage.salvageDisk({ from: directory, to: target, store: options })
          const saved = yield* Effect.exit(Effect.provide(
            Effect.andThen(salvage, Effect.map(FaultDisk, () => undefined)),
            layer({ image: changed })
          ))
          if (Exit.isFailure(saved) && Exit.findErrorOption(saved)._tag === "None") {
            throw new Error(`seed ${seed}: ${saved.cause}`)
          }
        }
        assert.isAbove(found, 60)
      }),
    120_000
  )
})
