/**
 * Keyspaces over time against a model that remembers every life of every name.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Catalog } from "../src/tree/file/Catalog.ts"
import { decode, empty, encode } from "../src/tree/file/Catalog.ts"
import type { Generation, LargeValue } from "../src/tree/Generations.ts"
import { Generations } from "../src/tree/Generations.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

/** One life of a name, as the model has it. */
interface Life {
  readonly name: string
  readonly keyspaceId: number
  readonly treeId: number
  readonly page: number
  readonly from: number
  until: number
  readonly large: Map<number, number>
  forgotten: boolean
}

class Model {
  generations: Generations
  lives: Array<Life> = []
  lsn = 64
  page = 1
  readonly chance: Random

  constructor(chance: Random) {
    this.chance = chance
    this.generations = new Generations(empty)
  }

  open(name: string): Life | undefined {
    return this.lives.find((life) => life.name === name && life.until === Infinity)
  }

  begin(name: string, keyspaceId: number): void {
    const life: Life = {
      name,
      keyspaceId,
      treeId: this.generations.nextTreeId,
      page: this.page++,
      from: this.lsn,
      until: Infinity,
      large: new Map(),
      forgotten: false
    }
    this.lives.push(life)
    this.generations.begin({
      keyspaceId,
      name,
      layout: `layout of ${name}`,
      codecVersion: keyspaceId,
      reducer: 0,
      root: { treeId: life.treeId, reducer: 0, expires: false, page: life.page, count: 0, unresolved: 0 },
      from: this.lsn,
      until: Infinity,
      large: new Map()
    })
  }

  end(life: Life): void {
    life.until = this.lsn
    this.generations.end(this.generations.get(life.keyspaceId), this.lsn)
  }

  /** One commit: it creates, clears, drops, or drops and creates anew. */
  commit(name: string): void {
    const life = this.open(name)
    const kind = this.chance.int(4)
    if (life === undefined) this.begin(name, this.generations.nextKeyspaceId)
    else {
      if (kind === 3) return
      this.end(life)
      if (kind === 0) this.begin(name, life.keyspaceId)
      if (kind === 1) this.begin(name, this.generations.nextKeyspaceId)
    }
    this.lsn += 8 * (1 + this.chance.int(3))
  }

  putLarge(name: string): void {
    const life = this.open(name)
    if (life === undefined) return
    const base = 64 + 4096 * this.chance.int(6)
    const bytes = 1 + this.chance.int(100)
    life.large.set(base, (life.large.get(base) ?? 0) + bytes)
    const { large } = this.generations.get(life.keyspaceId)
    large.set(base, (large.get(base) ?? 0) + bytes)
  }

  dropLarge(): void {
    const life = this.chance.pick(this.lives)
    if (life.large.size === 0) return
    const [base, held] = this.chance.pick([...life.large])
    const bytes = 1 + this.chance.int(held)
    if (bytes === held) life.large.delete(base)
    else life.large.set(base, held - bytes)
    this.generations.dropLarge(life.treeId, base, bytes)
  }

  forget(oldestPin: number): void {
    for (const life of this.lives) if (life.until < oldestPin) life.forgotten = true
    this.generations.forget(oldestPin)
  }

  /** What a reader at `at` sees. */
  find(name: string, at: number): Life | undefined {
    return this.lives.find((life) => life.name === name && life.from < at && at <= life.until)
  }

  check(names: ReadonlyArray<string>, oldestPin: number): void {
    for (const name of names) {
      for (let at = oldestPin; at <= this.lsn + 8; at += 4) {
        assert.strictEqual(
          this.generations.find(name, at)?.root.treeId,
          this.find(name, at)?.treeId,
          `${name} at ${at}`
        )
      }
    }
    const open = this.lives.filter(({ until }) => until === Infinity)
    const sorted = (values: Iterable<number>): Array<number> => [...values].sort((a, b) => a - b)
    assert.deepStrictEqual(
      sorted([...this.generations.all()].map(({ root }) => root.treeId)),
      sorted(open.map(({ treeId }) => treeId))
    )
    assert.deepStrictEqual(
      new Map([...this.generations.names()].map(([name, { id }]) => [name, id])),
      new Map(this.generationsOrder(open))
    )
    const ended = this.lives.filter(({ until }) => until !== Infinity)
    assert.deepStrictEqual(sorted(this.generations.ended()), sorted(ended.map(({ page }) => page)))
    const forgotten = ended.filter((life) => life.forgotten).map(({ page }) => page)
    assert.deepStrictEqual(sorted(this.generations.dropping), sorted(forgotten))
    const bases = this.lives.filter((life) => !life.forgotten).flatMap(({ large }) => [...large.keys()])
    assert.strictEqual(this.generations.oldestLarge(), bases.length === 0 ? undefined : Math.min(...bases))
  }

  private generationsOrder(open: ReadonlyArray<Life>): Array<[string, number]> {
    const byName = new Map(open.map((life) => [life.name, life.keyspaceId]))
    return [...this.generations.names().keys()].map((name) => [name, byName.get(name) ?? -1])
  }

  /** Opens the store anew from its catalog: nobody reads the past any more. */
  reopen(): void {
    const past = this.past()
    const catalog = decode(encode(this.generations.catalog(past)))
    assert.isDefined(catalog)
    assert.deepStrictEqual(catalog, this.generations.catalog(past))
    this.generations = new Generations(catalog as Catalog)
    assert.deepStrictEqual(this.generations.catalog([]), catalog)
    for (const life of this.lives) if (life.until !== Infinity) life.forgotten = true
  }

  /** Large values that are kept for readers only: no store that is opened anew has any. */
  private past(): Array<LargeValue> {
    const past: Array<LargeValue> = []
    for (const { large, treeId } of this.lives) {
      for (const [base, held] of large) {
        if (this.chance.bool(0.5)) continue
        const bytes = 1 + this.chance.int(held)
        past.push({ treeId, base, bytes })
        if (bytes === held) large.delete(base)
        else large.set(base, held - bytes)
      }
    }
    return past
  }
}

const names = ["a", "b", "long name with ünicode"]

describe("Generations", () => {
  for (let seed = 1; seed <= 40; seed++) {
    it(`show every reader the generation of its time (seed ${seed})`, () => {
      const chance = random(seed)
      const model = new Model(chance)
      let pin = 64
      for (let step = 0; step < 120; step++) {
        const kind = chance.int(20)
        if (kind < 9) model.commit(chance.pick(names))
        else if (kind < 14) model.putLarge(chance.pick(names))
        else if (kind < 17) { if (model.lives.length > 0) model.dropLarge() }
        else if (kind < 19) {
          pin += chance.int(model.lsn + 9 - pin)
          model.forget(pin)
        } else if (chance.bool(0.2)) {
          model.reopen()
          pin = model.lsn + 8
        }
        if (step % 6 === 0) model.check(names, pin)
      }
      model.check(names, pin)
    })
  }

  it("large values of a segment count until the last is gone, whoever dropped them", () => {
    const model = new Model(random(1))
    model.begin("a", 1)
    const generation = model.generations.get(1)
    generation.large.set(64, 30).set(4160, 5)
    model.generations.dropLarge(generation.root.treeId, 64, 10)
    assert.deepStrictEqual([...generation.large], [[64, 20], [4160, 5]])
    model.generations.dropLarge(generation.root.treeId, 64, 20)
    assert.strictEqual(model.generations.oldestLarge(), 4160)
    model.generations.dropLarge(generation.root.treeId, 64, 1)
    model.generations.dropLarge(99, 4160, 5)
    assert.strictEqual(model.generations.oldestLarge(), 4160)
    // Of a generation that has ended, but that somebody may still read.
    model.end(model.lives[0] as Life)
    assert.strictEqual(model.generations.oldestLarge(), 4160)
    model.generations.forget(model.lsn)
    assert.strictEqual(model.generations.oldestLarge(), 4160)
    model.generations.forget(model.lsn + 1)
    assert.isUndefined(model.generations.oldestLarge())
    assert.isEmpty(model.generations.catalog([]).keyspaces)
  })

  it("a write to a keyspace that is not open, or two lives at once, are defects", () => {
    const model = new Model(random(1))
    assert.throws(() => model.generations.get(1), /Generations I1/)
    model.begin("a", 1)
    const again: Generation = { ...model.generations.get(1), from: model.lsn + 8 }
    assert.throws(() => model.generations.begin(again), /Generations I1/)
    model.lsn += 8
    model.end(model.lives[0] as Life)
    assert.throws(() => model.generations.get(1), /Generations I1/)
    assert.throws(() => model.generations.begin({ ...again, from: model.lsn - 8 }), /Generations I1/)
    model.generations.begin(again)
  })
})
