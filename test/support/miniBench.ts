/**
 * A leaf's mini-page and a model of it: what every record says, and what each operation of `MiniWriter` may do.
 *
 * The base page never changes; whether it is in memory changes all the time.
 */
import { assert } from "@effect/vitest"
import { Arena } from "../../src/tree/memory/Arena.ts"
import { Events } from "../../src/tree/memory/Events.ts"
import { Pages } from "../../src/tree/memory/Pages.ts"
import type { Root } from "../../src/tree/memory/Root.ts"
import * as Inner from "../../src/tree/page/Inner.ts"
import { KeyScratch } from "../../src/tree/page/KeyScratch.ts"
import * as Leaf from "../../src/tree/page/Leaf.ts"
import * as MiniPage from "../../src/tree/page/MiniPage.ts"
import * as Page from "../../src/tree/page/Page.ts"
import { checkMini } from "../../src/tree/page/PageCheck.ts"
import { ValueScratch } from "../../src/tree/page/ValueIn.ts"
import { Versions } from "../../src/tree/past/Versions.ts"
import { Absent, Added, NoSpace, Removed, Replaced, Written } from "../../src/tree/read/Answer.ts"
import { Missing } from "../../src/tree/Tree.ts"
import { MiniWriter } from "../../src/tree/write/MiniWriter.ts"
import { pathPrefix, Workbench } from "../../src/tree/write/Workbench.ts"
import { rowsOf } from "./mini.ts"
import type { Random } from "./random.ts"

const { Flag } = MiniPage
const { Kind } = Leaf

/** A record of the model: undefined as a value says that there is none now. */
interface Known {
  base: "has it" | "has none" | "unknown"
  value: string | undefined
  expiry: number
  version: number
  dirty: boolean
  touched: boolean
  again: boolean
}

interface Options {
  readonly pageBytes: number
  readonly prefixBytes: number
  readonly name: string
}

/** Notes what is displaced. */
class Spy extends Versions {
  readonly displaced: Array<readonly [key: string, from: number, to: number]> = []

  override displace(
    _treeId: number,
    key: KeyScratch,
    to: number,
    words: Int32Array,
    record: number
  ): void {
    this.displaced.push([latin(key.toBytes()), Leaf.versionAt(words, record), to])
  }
}

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

/** Words of the largest record that is written here, with its slot: 40 bytes of value and an expiry. */
const largestRecordWords = Page.recordHeaderWords + Page.slotWords + 10 + 2 + 5

export class MiniBench {
  readonly seen = { classes: new Set<number>(), missing: 0, noSpace: 0, kept: 0, copies: 0, left: 0 }
  private readonly chance: Random
  private readonly options: Options
  private readonly pages: Pages
  private readonly versions = new Spy({ durable: 0, visible: 0 })
  private readonly bench: Workbench
  private readonly writer: MiniWriter
  private readonly root: Root = { treeId: 7, page: 1, count: 0, unresolved: 0, reducer: 0, expires: false }
  private readonly leaf: number
  private readonly base: number
  private readonly inBase = new Map<string, { readonly value: string; readonly version: number }>()
  private model = new Map<string, Known>()
  private readonly key = new KeyScratch()
  private version = 100

  constructor(chance: Random, options: Options) {
    this.chance = chance
    this.options = options
    const { pageBytes } = options
    this.pages = new Pages(new Arena({ pageBytes, blocks: 8, chunkBytes: 4 * pageBytes }), { epoch: 1 })
    const { arena, map } = this.pages
    this.bench = new Workbench(arena.pageWords)
    this.writer = new MiniWriter({
      pages: this.pages,
      versions: this.versions,
      bench: this.bench,
      events: new Events(0)
    })
    const above = this.makeAbove()
    this.leaf = this.pages.create("guest")
    this.base = map.block[this.leaf] as number
    this.fillBase()
    this.bench.ids.set([above, this.leaf])
    this.bench.taken[0] = 1
    this.bench.depth = 1
    assert.strictEqual(pathPrefix(this.bench, this.pages), options.prefixBytes)
  }

  get classes(): Int32Array {
    return this.pages.ring.classes
  }

  private get prefix(): string {
    return "a prefix of some length".slice(0, this.options.prefixBytes)
  }

  private fence(last: string): KeyScratch {
    const key = new KeyScratch()
    key.load(Buffer.from(this.prefix + last))
    return key
  }

  /** A node above whose separators on both sides of the leaf have the prefix in common. */
  private makeAbove(): number {
    const { arena, map } = this.pages
    const id = this.pages.create("inner")
    const address = map.block[id] as number
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    Page.begin(words, p, { size: arena.pageWords, level: 1, pageId: id, treeId: 7 })
    Inner.setOnlyChild(words, p, 100)
    Inner.insert(words, p, 0, this.fence("0"), 2)
    Inner.insert(words, p, 1, this.fence("z"), 101)
    return id
  }

  private fillBase(): void {
    const { arena } = this.pages
    const words = arena.wordsOf(this.base)
    const p = this.base & arena.mask
    Page.begin(words, p, { size: arena.pageWords, level: 0, pageId: this.leaf, treeId: 7 })
    Page.setFences(words, p, this.fence("0"), this.fence("z"))
    for (let tries = 0; tries < 12; tries++) {
      const text = this.anyKey()
      this.load(text)
      const value = this.chance.bytes(this.chance.int(24))
      const need = Leaf.neededWords(words, p, this.key.length, value.length, Infinity)
      const index = ~Leaf.find(words, p, this.key)
      if (index < 0 || Leaf.gap(words, p) < need + Page.slotWords) continue
      const version = 1 + tries
      Leaf.insert(
        words,
        p,
        index,
        need,
        this.key,
        Kind.Value,
        new ValueScratch().load(value),
        version,
        Infinity
      )
      this.inBase.set(text, { value: latin(value), version })
    }
  }

  private anyKey(): string {
    return `${this.prefix}${this.chance.int(40) + 10}${".".repeat(this.chance.pick([0, 0, 1, 2, 3]))}`
  }

  private load(text: string): void {
    this.key.load(Buffer.from(text, "latin1"))
  }

  private get words(): { readonly words: Int32Array; readonly p: number } | undefined {
    const { arena, map } = this.pages
    const address = map.mini[this.leaf] as number
    return address < 0 ? undefined : { words: arena.wordsOf(address), p: address & arena.mask }
  }

  private get isHere(): boolean {
    return (this.pages.map.block[this.leaf] as number) >= 0
  }

  private baseOf(text: string): Known["base"] {
    if (!this.isHere) return "unknown"
    return this.inBase.has(text) ? "has it" : "has none"
  }

  step(): void {
    const { chance, pages } = this
    const dice = chance.next()
    const { arena } = pages
    // Sometimes the arena has nothing to give.
    arena.limit = chance.bool(0.1) ? arena.usedBlocks : arena.blocks
    if (dice < 0.45) this.put(this.anyKey())
    else if (dice < 0.6) this.remove(this.anyKey())
    else if (dice < 0.85) this.remember(this.anyKey())
    else if (dice < 0.9) this.touchSome()
    else pages.map.block[this.leaf] = this.isHere ? -1 : this.base
    this.check()
  }

  private touchSome(): void {
    const at = this.words
    if (at === undefined) return
    for (let index = 0; index < Page.count(at.words, at.p); index++) {
      if (!this.chance.bool(0.3)) continue
      Leaf.loadKey(at.words, at.p, index, this.key)
      MiniPage.touch(at.words, Leaf.recordAt(at.words, at.p, index))
      const known = this.known(latin(this.key.toBytes()))
      known.again ||= known.touched
      known.touched = true
    }
    // What nobody uses any more goes cold.
    if (!this.chance.bool(0.3)) return
    MiniPage.untouch(at.words, at.p, MiniPage.Flag.touched)
    for (const known of this.model.values()) known.touched = false
  }

  private known(text: string): Known {
    return this.model.get(text) ?? assert.fail(`a record of ${text} that is not in the model`)
  }

  private put(text: string): void {
    this.load(text)
    const { chance } = this
    const value = chance.bytes(chance.int(chance.pick([8, 40])))
    const expiry = chance.bool(0.2) ? chance.int(1e9) : Infinity
    const version = this.version++
    const address = this.pages.map.mini[this.leaf]
    const answer = this.asking(
      text,
      () => this.writer.put(this.root, this.key, Kind.Value, new ValueScratch().load(value), version, expiry)
    )
    if (answer < 0) return
    const there = this.model.get(text)
    // What is clean may stay behind where the mini-page moves, the record at hand too: it is written anew.
    const moved = this.pages.map.mini[this.leaf] !== address
    const isLeft = moved && there?.dirty === false && !this.isTouched(text)
    const before = isLeft ? undefined : there
    const base = before?.base ?? this.baseOf(text)
    const was = before === undefined ? base : before.value === undefined ? "has none" : "has it"
    assert.strictEqual(answer, was === "has it" ? Replaced : was === "has none" ? Added : Written)
    const marks = usedAgain(before)
    const known = { base, value: latin(value), expiry, version, dirty: true, ...marks }
    this.write(text, before, known)
  }

  private isTouched(text: string): boolean {
    const at = this.words ?? assert.fail("no mini-page")
    this.load(text)
    const record = Leaf.recordAt(at.words, at.p, Leaf.find(at.words, at.p, this.key))
    return (MiniPage.flagsAt(at.words, record) & Flag.touched) !== 0
  }

  private remove(text: string): void {
    this.load(text)
    const version = this.version++
    const before = this.model.get(text)
    const answer = this.asking(text, () => this.writer.remove(this.root, this.key, version))
    if (answer < 0) return
    const base = before?.base ?? this.baseOf(text)
    const absent = before === undefined ? base === "has none" : before.value === undefined
    if (absent) return assert.strictEqual(answer, Absent)
    assert.strictEqual(answer, before === undefined && base === "unknown" ? Written : Removed)
    const marks = usedAgain(before)
    // Where the base page has none, nothing needs to hide it.
    const phantom = before !== undefined && base === "has none"
    const gone = { base, value: undefined, expiry: Infinity, ...marks }
    this.write(text, before, { ...gone, version: phantom ? 0 : version, dirty: !phantom }, version)
  }

  /** I2 of `MiniWriter`: what a dirty record displaces goes to Versions, and nothing else. */
  private write(text: string, before: Known | undefined, known: Known, version = known.version): void {
    this.model.set(text, known)
    const displaced = this.versions.displaced.splice(0)
    const expected = before?.dirty === true ? [[text, before.version, version]] : []
    assert.deepStrictEqual(displaced.map((entry) => [...entry]), expected)
    this.seen.kept += displaced.length
  }

  /** Runs an operation; one that is refused has changed nothing (I1 of `MiniWriter`). */
  private asking(text: string, operation: () => number): number {
    const before = this.image()
    const { count, unresolved } = this.root
    const { usedBlocks } = this.pages.arena
    const answer = operation()
    if (answer < 0) {
      if (answer === NoSpace) this.seen.noSpace++
      if (answer === Missing) this.seen.missing++
      assert.deepStrictEqual(this.image(), before, `${this.options.name}: ${answer}`)
      assert.deepStrictEqual([this.root.count, this.root.unresolved], [count, unresolved])
      assert.strictEqual(this.pages.arena.usedBlocks, usedBlocks)
      assert.isEmpty(this.versions.displaced)
      if (answer === Missing) this.merge()
    } else {
      this.leaveBehind(text)
    }
    return answer
  }

  private image(): Int32Array | undefined {
    const at = this.words
    return at?.words.slice(at.p, at.p + Page.size(at.words, at.p))
  }

  /** A mini-page that moved may have left behind what is clean, and nothing else. */
  private leaveBehind(written: string): void {
    const at = this.words
    if (at === undefined) return
    const found = new Set<string>()
    for (let index = 0; index < Page.count(at.words, at.p); index++) {
      Leaf.loadKey(at.words, at.p, index, this.key)
      found.add(latin(this.key.toBytes()))
    }
    for (const [text, known] of this.model) {
      if (found.has(text)) continue
      assert.isFalse(known.dirty, `${this.options.name}: ${text} is lost`)
      if (text !== written) this.model.delete(text)
      this.seen.left++
    }
  }

  /** The mini-page is full: as its owner would, it begins again. */
  private merge(): void {
    const { arena, map } = this.pages
    const room = (this.classes.at(-1) as number) - (this.classes[this.classOf()] as number)
    assert.isBelow(room, largestRecordWords, "no larger class has room")
    arena.limit = arena.blocks
    this.pages.end(this.leaf)
    assert.isBelow(map.mini[this.leaf] as number, 0)
    this.model.clear()
    this.root.count = 0
    this.root.unresolved = 0
  }

  private classOf(): number {
    const at = this.words
    return at === undefined ? -1 : this.classes.indexOf(Page.size(at.words, at.p))
  }

  private remember(text: string): void {
    if (!this.isHere || this.model.has(text)) return
    this.load(text)
    const { arena } = this.pages
    const words = arena.wordsOf(this.base)
    const p = this.base & arena.mask
    const index = Leaf.find(words, p, this.key)
    const address = index < 0 ? -1 : this.base + Page.slotAt(words, p, index)
    const { count, unresolved } = this.root
    const state = this.pages.map.state[this.leaf]
    const changed = this.pages.changedPages
    const ripe = this.pages.ripe.length
    this.writer.remember(this.root, this.key, address, index < 0 ? 0 : Page.slotBytes(words, p, index))
    assert.deepStrictEqual([this.root.count, this.root.unresolved], [count, unresolved])
    assert.isEmpty(this.versions.displaced)
    assert.strictEqual(this.pages.changedPages, changed, "a copy is no change")
    assert.strictEqual(this.pages.ripe.length, ripe, `${this.options.name}: a copy costs no merge`)
    if (state !== undefined) assert.strictEqual((this.pages.map.state[this.leaf] as number) & state, state)
    this.leaveBehind("")
    this.load(text)
    const at = this.words
    if (at === undefined || Leaf.find(at.words, at.p, this.key) < 0) return
    const copied = this.inBase.get(text)
    const base = copied === undefined ? "has none" : "has it"
    const { value, version } = copied ?? { value: undefined, version: 0 }
    this.model.set(text, {
      base,
      value,
      version,
      expiry: Infinity,
      dirty: false,
      touched: false,
      again: false
    })
    this.seen.copies++
  }

  private check(): void {
    const at = this.words
    const rows = at === undefined ? [] : rowsOf(at.words, at.p)
    if (at !== undefined) {
      const size = Page.size(at.words, at.p)
      // Word 0 of a block is the ring's.
      const own = at.words.slice(at.p, at.p + size)
      assert.strictEqual(checkMini(own, 0, size)._tag, "Sound", this.options.name)
      this.seen.classes.add(size)
    }
    const texts = [...this.model.keys()].sort()
    assert.deepStrictEqual(rows, texts.map((text) => rowFor(text, this.known(text))), this.options.name)
    let [count, unresolved] = [0, 0]
    for (const { base, dirty, value } of this.model.values()) {
      if (base === "unknown") unresolved++
      else if (dirty) count += Number(value !== undefined) - Number(base === "has it")
    }
    assert.deepStrictEqual([this.root.count, this.root.unresolved], [count, unresolved], this.options.name)
  }
}

const statusFor = { "has it": Flag.replaces, "has none": Flag.isNew, unknown: 0 }

/** The marks of what overwrites a record; there was none where it is undefined. */
const usedAgain = (before: Known | undefined): Pick<Known, "touched" | "again"> => ({
  touched: before !== undefined,
  again: before !== undefined && (before.again || before.touched)
})

const rowFor = (text: string, { again, base, dirty, expiry, touched, value, version }: Known): string => {
  const kind = value !== undefined ? Kind.Value : dirty ? Kind.Tombstone : Kind.Phantom
  const status = dirty ? statusFor[base] : value === undefined ? 0 : Flag.cached
  return [
    Buffer.from(text, "latin1").toString("hex"),
    kind,
    status | (expiry === Infinity ? 0 : Leaf.expires),
    touched && "touched",
    again && "again",
    version,
    expiry,
    Buffer.from(value ?? "", "latin1").toString("hex"),
    dirty && "dirty"
  ].join()
}
