/**
 * Value codecs: round trips, versions and their migration, and what is refused.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Codec from "../src/Codec.ts"
import { random } from "./support/random.ts"

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

/** What a codec throws; anything but a `CodecFailed`, or nothing, fails the test. */
const failure = (run: () => unknown): Codec.CodecFailed => {
  let answer: unknown
  try {
    answer = run()
  } catch (error) {
    if (error instanceof Codec.CodecFailed) return error
    throw error
  }
  throw new Error(`expected a CodecFailed, got ${JSON.stringify(answer)}`)
}

class Person extends Schema.Class<Person>("test/Person")({
  name: Schema.String,
  age: Schema.Option(Schema.Int),
  seen: Schema.DateTimeUtc,
  photo: Schema.Uint8Array
}) {}

describe("Codec.schema", () => {
  it("brings back what was stored (seed 1)", () => {
    const codec = Codec.schema(Person)
    const chance = random(1)
    for (let i = 0; i < 500; i++) {
      const person = new Person({
        name: Array.from(
          { length: chance.int(9) },
          () => chance.pick(["a", "é", "😀", "\0", "\ufeff", "\ud800", "\""])
        ).join(""),
        age: chance.bool(0.5) ? Option.some(chance.int(99)) : Option.none(),
        seen: DateTime.makeUnsafe(chance.int(2 ** 40)),
        photo: chance.bytes(chance.int(20))
      })
      const found = codec.decode(codec.encode(person))
      assert.isTrue(found instanceof Person)
      assert.deepStrictEqual([found.name, found.age, found.seen.epochMilliseconds, Array.from(found.photo)], [
        person.name,
        person.age,
        person.seen.epochMilliseconds,
        Array.from(person.photo)
      ], `case ${i}`)
    }
  })

  it("stores a version and JSON", () => {
    const plain = Schema.Struct({ a: Schema.Number })
    assert.strictEqual(text(Codec.schema(plain).encode({ a: 1 })), "\x01{\"a\":1}")
    assert.strictEqual(text(Codec.schema(plain, { version: 127 }).encode({ a: 1 })), "\x7f{\"a\":1}")
    assert.strictEqual(text(Codec.schema(plain, { version: 128 }).encode({ a: 1 })), "\x80\x01{\"a\":1}")
    assert.strictEqual(text(Codec.schema(plain, { version: 16_383 }).encode({ a: 1 })), "\xff\x7f{\"a\":1}")
    for (const version of [1, 2, 127, 128, 129, 255, 256, 16_383]) {
      const codec = Codec.schema(plain, { version })
      assert.deepStrictEqual(codec.decode(codec.encode({ a: NaN })), { a: NaN })
      assert.strictEqual(codec.version, version)
      assert.strictEqual(codec.format, "json")
    }
  })

  it("keeps nothing of what it read, and shares nothing of what it wrote", () => {
    const codec = Codec.schema(Person)
    const person = new Person({
      name: "ada",
      age: Option.none(),
      seen: DateTime.makeUnsafe(0),
      photo: Uint8Array.of(1, 2, 3)
    })
    const stored = codec.encode(person)
    const again = Uint8Array.from(stored)
    const found = codec.decode(stored)
    stored.fill(0xff)
    assert.deepStrictEqual([found.name, Array.from(found.photo)], ["ada", [1, 2, 3]])
    assert.deepStrictEqual(Array.from(codec.encode(person)), Array.from(again))
  })

  it("passes bytes through, with no prefix", () => {
    const codec = Codec.schema(Schema.Uint8Array)
    const value = Uint8Array.of(0, 1, 255)
    assert.strictEqual(codec.format, "bytes")
    assert.strictEqual(codec.version, 0)
    assert.strictEqual(codec.encode(value), value)
    assert.strictEqual(codec.decode(value), value)
    assert.strictEqual(Codec.bytes.encode(value), value)
    assert.strictEqual(Codec.bytes.decode(value), value)
    assert.throws(() => Codec.schema(Schema.Uint8Array, { version: 2 }), /no version/)
    const text = Codec.schema(Schema.Uint8ArrayFromBase64)
    assert.strictEqual(text.format, "json")
    assert.deepStrictEqual(Array.from(text.decode(text.encode(value))), [0, 1, 255])
  })

  it("refuses what the schema refuses, and says nothing of the value", () => {
    const codec = Codec.schema(
      Schema.Struct({ pin: Schema.Int, name: Schema.String.check(Schema.isMaxLength(5)) })
    )
    const secret = "hunter2"
    const refused = [
      failure(() => codec.encode({ pin: 1.5, name: "a" })),
      failure(() => codec.encode({ pin: 1, name: secret })),
      failure(() => codec.encode(secret as never)),
      failure(() => codec.decode(Buffer.from(`\x01{"pin":"${secret}","name":"a"}`))),
      failure(() => codec.decode(Buffer.from(`\x01{"pin":1}`))),
      failure(() => codec.decode(Buffer.from(`\x01{"pin":1,"name":"${secret}"}`))),
      failure(() => codec.decode(Buffer.from(`\x01${secret}`))),
      failure(() => codec.decode(Buffer.from(`\x01`))),
      failure(() => codec.decode(Buffer.from([1, 0x22, 0xff, 0x22])))
    ]
    for (const { problem, version } of refused) {
      assert.notInclude(problem, secret)
      assert.isAbove(problem.length, 5)
      assert.strictEqual(version, 1)
    }
    assert.match(refused[4]?.problem ?? "", /name/)
  })

  it("refuses what JSON has no form for", () => {
    assert.match(failure(() => Codec.json.write(undefined)).problem, /JSON/)
    const cyclic: Record<string, unknown> = {}
    cyclic["self"] = cyclic
    failure(() => Codec.schema(Schema.Unknown).encode(cyclic))
    failure(() => Codec.schema(Schema.Unknown).encode(Symbol("s")))
  })

  it("decodes any bytes to a value or a CodecFailed (seed 2)", () => {
    const codec = Codec.schema(Person, { version: 3, migrate: { 2: (old) => old } })
    const whole = codec.encode(
      new Person({ name: "ada", age: Option.some(1), seen: DateTime.makeUnsafe(0), photo: Uint8Array.of(1) })
    )
    const chance = random(2)
    let refused = 0
    for (let i = 0; i < 10_000; i++) {
      const drawn = chance.bool(0.3) ? chance.bytes(chance.int(20)) : Uint8Array.from(whole)
      if (drawn.length > 0) drawn[chance.int(drawn.length)] = chance.int(256)
      try {
        assert.isTrue(codec.decode(drawn) instanceof Person)
      } catch (error) {
        if (!(error instanceof Codec.CodecFailed)) throw error
        refused++
      }
    }
    assert.isAbove(refused, 1_000)
  })

  it("takes __proto__ for a name like any other", () => {
    const stored = Buffer.from(
      `\x01{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}},"a":1}`
    )
    const whole = Codec.schema(Schema.Record(Schema.String, Schema.Unknown)).decode(stored)
    assert.strictEqual(Object.getPrototypeOf(whole), Object.prototype)
    assert.isUndefined(whole["admin"])
    assert.isTrue(Object.hasOwn(whole, "__proto__"))
    const struct = Codec.schema(Schema.Struct({ a: Schema.Number })).decode(stored)
    assert.deepStrictEqual(Object.keys(struct), ["a"])
    const migrated = Codec.schema(Schema.Struct({ a: Schema.Number }), {
      version: 2,
      migrate: { 1: (old: Record<string, unknown>) => ({ ...old }) }
    }).decode(stored)
    assert.isUndefined((migrated as { admin?: boolean }).admin)
    assert.isUndefined(({} as { admin?: boolean }).admin)
  })

  it("does not take a schema that needs services", () => {
    class Clock extends Context.Service<Clock, { readonly now: number }>()("test/codec/Clock") {}
    const needy = Schema.String.pipe(Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.transformEffect((text: string) => Effect.map(Clock, (clock) => text + clock.now)),
      encode: SchemaGetter.passthrough()
    }))
    // @ts-expect-error it needs Clock
    const codec = Codec.schema(needy)
    failure(() => codec.decode(Buffer.from("\x01\"a\"")))
  })

  it("does not wait for a schema that does", () => {
    const slow = Schema.String.pipe(Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.transformEffect((text: string) => Effect.delay(Effect.succeed(text), 1)),
      encode: SchemaGetter.passthrough()
    }))
    failure(() => Codec.schema(slow).decode(Buffer.from("\x01\"a\"")))
  })
})

describe("Codec versions", () => {
  const V1 = Codec.schema(Schema.Struct({ name: Schema.String }))
  const V2 = Codec.schema(Schema.Struct({ first: Schema.String, last: Schema.String }), {
    version: 2,
    migrate: {
      1: (old: { name: string }) => ({ first: old.name.split(" ")[0], last: old.name.split(" ")[1] ?? "" })
    }
  })
  const Names = Schema.Struct({ first: Schema.String, last: Schema.String, age: Schema.NullOr(Schema.Int) })
  const steps = {
    1: (old: { name: string }) => ({ first: old.name.split(" ")[0], last: old.name.split(" ")[1] ?? "" }),
    2: (old: object) => ({ ...old, age: null })
  }
  const V3 = Codec.schema(Names, { version: 3, migrate: steps })

  it("lead through every step to the declared one", () => {
    assert.deepStrictEqual(V3.decode(V1.encode({ name: "Ada Lovelace" })), {
      first: "Ada",
      last: "Lovelace",
      age: null
    })
    assert.deepStrictEqual(V3.decode(V2.encode({ first: "Ada", last: "L" })), {
      first: "Ada",
      last: "L",
      age: null
    })
    assert.deepStrictEqual(V3.decode(V3.encode({ first: "Ada", last: "L", age: 36 })), {
      first: "Ada",
      last: "L",
      age: 36
    })
    assert.deepStrictEqual(V2.decode(V1.encode({ name: "Ada" })), { first: "Ada", last: "" })
  })

  it("do not lead back", () => {
    const newer = failure(() => V1.decode(V3.encode({ first: "a", last: "b", age: null })))
    assert.strictEqual(newer.version, 3)
    assert.match(newer.problem, /newer/)
    assert.strictEqual(failure(() => V2.decode(V3.encode({ first: "a", last: "b", age: null }))).version, 3)
  })

  it("need a step from the one that was stored", () => {
    const young = Codec.schema(Names, { version: 3, migrate: { 2: steps[2] } })
    assert.deepStrictEqual(young.decode(V2.encode({ first: "a", last: "b" })), {
      first: "a",
      last: "b",
      age: null
    })
    const missing = failure(() => young.decode(V1.encode({ name: "a b" })))
    assert.strictEqual(missing.version, 1)
    assert.match(missing.problem, /no step leads from version 1/)
  })

  it("end in what the schema accepts", () => {
    const wrong = Codec.schema(Names, { version: 2, migrate: { 1: () => ({ first: "a" }) } })
    assert.strictEqual(failure(() => wrong.decode(V1.encode({ name: "a" }))).version, 1)
    const broken = Codec.schema(Names, { version: 2, migrate: { 1: (old: { no: string }) => old.no.length } })
    const thrown = failure(() => broken.decode(V1.encode({ name: "a" })))
    assert.strictEqual(thrown.problem, "the step from version 1 to 2 threw a TypeError")
    assert.instanceOf(thrown.cause, TypeError)
  })

  it("are refused where they are not versions", () => {
    for (const start of ["", "\0", "\0{}", "\x80", "\x80\0{}", "\x81\0{}", "\xff\x80{}", "\x80\xff{}"]) {
      const refused = failure(() => V3.decode(Buffer.from(start, "latin1")))
      assert.strictEqual(refused.version, 0, JSON.stringify(start))
    }
    const plain = Schema.Struct({})
    for (const version of [0, -1, 1.5, 16_384, NaN]) {
      assert.throws(() => Codec.schema(plain, { version }), RangeError)
    }
    const same = (old: unknown): unknown => old
    assert.throws(() => Codec.schema(plain, { version: 3, migrate: { 1: same } }), /up to 2/)
    assert.throws(() => Codec.schema(plain, { version: 2, migrate: { 2: same } }), RangeError)
    assert.throws(() => Codec.schema(plain, { version: 2, migrate: { 0: same, 1: same } }), RangeError)
    assert.throws(() => Codec.schema(plain, { migrate: { 1: same } }), RangeError)
  })
})

describe("Codec.make", () => {
  const latin1 = Codec.make<string>({
    format: "latin1",
    version: 2,
    encode: (value) => Buffer.from(value, "latin1"),
    decode: (payload, version) => Buffer.from(payload).toString("latin1") + version
  })

  it("hands the version to whoever decodes", () => {
    assert.strictEqual(latin1.decode(latin1.encode("é")), "é2")
    assert.strictEqual(latin1.decode(Buffer.from("\x01a")), "a1")
    assert.strictEqual(latin1.format, "latin1")
  })

  it("turns what is thrown into CodecFailed", () => {
    const broken = Codec.make<string>({
      format: "broken",
      encode: () => {
        throw new SyntaxError("the value is hunter2")
      },
      decode: () => {
        throw "hunter2"
      }
    })
    assert.strictEqual(failure(() => broken.encode("")).problem, "encoding threw a SyntaxError")
    assert.strictEqual(failure(() => broken.decode(Uint8Array.of(1))).problem, "decoding threw a string")
    assert.throws(
      () => Codec.make({ format: "bytes", encode: (value: Uint8Array) => value, decode: (b) => b }),
      RangeError
    )
  })

  it("is told from a schema", () => {
    assert.isTrue(Codec.isCodec(latin1))
    assert.isTrue(Codec.isCodec(Codec.bytes))
    assert.isTrue(Codec.isCodec(Codec.schema(Schema.String)))
    assert.isFalse(Codec.isCodec(Schema.String))
    assert.isFalse(Codec.isCodec(Person))
  })

  it("takes another wire", () => {
    const wire: Codec.Wire = {
      format: "reversed",
      write: (data) => Buffer.from(JSON.stringify(data)).reverse(),
      read: (bytes) => JSON.parse(Buffer.from(bytes).reverse().toString())
    }
    const codec = Codec.schema(Schema.Struct({ a: Schema.Option(Schema.Int) }), { wire })
    assert.strictEqual(codec.format, "reversed")
    const value = { a: Option.some(7) }
    assert.deepStrictEqual(codec.decode(codec.encode(value)), value)
  })
})

describe("codecs of what reducers fold", () => {
  it("numbers: back as they were, in 8 bytes that are ordered as they are", () => {
    const ints = [Number.MIN_SAFE_INTEGER, -(2 ** 32), -1, 0, 1, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER]
    const floats = [-Infinity, -1.5, -Number.MIN_VALUE, 0, Number.MIN_VALUE, 0.1, 2 ** 60, Infinity]
    for (const [codec, numbers] of [[Codec.int, ints], [Codec.float, floats]] as const) {
      const stored = numbers.map((number) => codec.encode(number))
      assert.deepStrictEqual(stored.map((bytes) => codec.decode(bytes)), numbers)
      assert.deepStrictEqual(stored.toSorted(Buffer.compare), stored)
      assert.isTrue(stored.every(({ length }) => length === 8))
    }
    assert.deepStrictEqual(Codec.float.encode(-0), Codec.float.encode(0))
  })

  it("numbers: what is none is refused, in either direction", () => {
    for (const value of [0.5, 2 ** 53, Number.NaN, "1", undefined]) {
      failure(() => Codec.int.encode(value as number))
    }
    failure(() => Codec.float.encode(Number.NaN))
    for (
      const bytes of [new Uint8Array(0), new Uint8Array(7), new Uint8Array(9), new Uint8Array(8).fill(0xff)]
    ) {
      failure(() => Codec.int.decode(bytes))
      failure(() => Codec.float.decode(bytes))
    }
  })

  it("sets: sorted, each element once", () => {
    const elements = ["b", "", "a", "b", "ab", "\xff"].map((text) =>
      Uint8Array.from(Buffer.from(text, "latin1"))
    )
    const stored = Codec.set.encode(elements)
    const read = Codec.set.decode(stored)
    assert.deepStrictEqual(read.map((element) => Buffer.from(element).toString("latin1")), [
      "",
      "a",
      "ab",
      "b",
      "\xff"
    ])
    assert.deepStrictEqual(Codec.set.encode(read), stored)
    assert.deepStrictEqual(Codec.set.decode(new Uint8Array(0)), [])
    const longest = new Uint8Array(0xffff)
    assert.deepStrictEqual(Codec.set.decode(Codec.set.encode([longest])), [longest])
    failure(() => Codec.set.encode([new Uint8Array(0x1_0000)]))
  })

  it("sets: what is cut off or out of order is refused", () => {
    const broken = [[0], [0, 1], [0, 2, 1], [0, 1, 2, 0, 1, 1], [0, 1, 1, 0, 1, 1]]
    for (const bytes of broken) {
      failure(() => Codec.set.decode(Uint8Array.from(bytes)))
    }
  })
})
