/**
 * Keys: order, round trips, prefixes, and decoders that refuse what no encoder wrote.
 */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Key from "../src/Key.ts"
import { byBytes, bytes, subjects, text } from "./support/keySubjects.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"

const cases = 10_000

const encoded = <A>(key: Key.Key<A, unknown>, value: A): Uint8Array => {
  const found = Key.bytesOf(key, value)
  if (found === undefined) throw new Error(`${key.fingerprint} refused a value`)
  return found
}

/** What equal keys decode to: -0 comes back as 0, a buffer as bytes. */
const plain = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(plain)
    : value instanceof Uint8Array
    ? Array.from(value)
    : DateTime.isDateTime(value)
    ? DateTime.toEpochMillis(value)
    : Object.is(value, -0)
    ? 0
    : value

describe("Key", () => {
  subjects.forEach(({ key, order, value }, index) => {
    const name = `${key.fingerprint} (seed ${index + 1})`

    it(`${name}: bytes order as values do, and come back`, () => {
      const chance = random(index + 1)
      let before = value(chance)
      for (let i = 0; i < cases; i++) {
        const now = value(chance)
        const left = encoded(key, before)
        const right = encoded(key, now)
        assert.strictEqual(byBytes(left, right), Math.sign(order(before, now)), `case ${i}`)
        assert.deepStrictEqual(plain(key.decode(right, 0, right.length)), plain(now), `case ${i}`)
        assert.isAtMost(right.length, key.maxBytes)
        before = now
      }
    })

    it(`${name}: a part delimits itself, wherever it stands`, () => {
      const chance = random(index + 101)
      const target = Buffer.alloc(2_000)
      for (let i = 0; i < cases / 10; i++) {
        const expected = value(chance)
        const offset = chance.int(50)
        target.set(chance.bytes(1_000))
        const written = key.encodePart(expected, target, offset)
        assert.isAbove(written, 0)
        const behind = Buffer.from(target)
        assert.deepStrictEqual(
          plain(key.decodePart(target, offset, target.length)),
          plain(expected),
          `case ${i}`
        )
        assert.strictEqual(Key.partEnd(), offset + written)
        assert.isTrue(behind.equals(target), "decoding changed the bytes")
        assert.isUndefined(key.decodePart(target, offset, offset + written - 1), "a part cut short")
      }
    })

    it(`${name}: refuses bytes that no value has`, () => {
      const chance = random(index + 201)
      for (let i = 0; i < cases; i++) {
        const drawn = chance.bool(0.5)
          ? chance.bytes(chance.int(30))
          : damaged(encoded(key, value(chance)), chance)
        const found = key.decode(drawn, 0, drawn.length)
        if (found === undefined) continue
        const again = encoded(key, found)
        assert.isTrue(byBytes(again, drawn) === 0, `case ${i}: ${Buffer.from(drawn).toString("hex")}`)
      }
    })

    it(`${name}: answers Full where the target ends, at every length, and writes nothing behind it`, () => {
      const chance = random(index + 301)
      for (let i = 0; i < 200; i++) {
        const drawn = value(chance)
        const length = encoded(key, drawn).length
        const target = new Uint8Array(length)
        assert.strictEqual(key.encode(drawn, target, 0), length)
        const whole = new Uint8Array(length + 3)
        assert.strictEqual(key.encode(drawn, whole, 3), length)
        assert.strictEqual(byBytes(whole.subarray(3), target), 0)
        for (let room = 0; room < length; room++) {
          whole.fill(0xaa)
          assert.strictEqual(key.encode(drawn, whole.subarray(0, room), 0), Key.Full)
          assert.isTrue(whole.subarray(room).every((byte) => byte === 0xaa))
        }
      }
    })

    it(`${name}: its fingerprint names the same layout`, () => {
      const chance = random(index + 401)
      const named = Key.parse(key.fingerprint)
      assert.strictEqual(named?.fingerprint, key.fingerprint)
      for (let i = 0; named !== undefined && i < 100; i++) {
        const drawn = value(chance)
        assert.strictEqual(byBytes(encoded(named, drawn), encoded(key, drawn)), 0)
      }
    })
  })
})

function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = Uint8Array.from(bytes)
  if (copy.length === 0) return random.bytes(1)
  if (random.bool(0.3)) return copy.subarray(0, random.int(copy.length))
  if (random.bool(0.3)) return Uint8Array.from([...copy, random.int(256)])
  copy[random.int(copy.length)] = random.pick([0, 1, 2, 0x7f, 0x80, 0xff, random.int(256)])
  return copy
}

describe("Key layout", () => {
  const layouts: ReadonlyArray<readonly [string, Uint8Array | undefined, string]> = [
    ["string", Key.bytesOf(Key.String, "a\0é"), "6100c3a9"],
    ["bytes", Key.bytesOf(Key.Bytes, Uint8Array.of(0, 1, 255)), "0001ff"],
    ["u32", Key.bytesOf(Key.U32, 0xfffffffe), "fffffffe"],
    ["u64", Key.bytesOf(Key.U64, 2n ** 64n - 2n), "fffffffffffffffe"],
    ["int", Key.bytesOf(Key.Int, -1), "7fffffffffffffff"],
    ["int", Key.bytesOf(Key.Int, 2 ** 53 - 1), "801fffffffffffff"],
    ["float", Key.bytesOf(Key.Float, 1), "bff0000000000000"],
    ["float", Key.bytesOf(Key.Float, -1), "400fffffffffffff"],
    ["float", Key.bytesOf(Key.Float, -0), "8000000000000000"],
    ["bool", Key.bytesOf(Key.Bool, true), "01"],
    ["timestamp", Key.bytesOf(Key.Timestamp, DateTime.makeUnsafe(1_000)), "80000000000003e8"],
    [
      "uuid",
      Key.bytesOf(Key.Uuid, "0190A1B2-c3d4-7e5f-8a6b-0c1d2e3f4a5b"),
      "0190a1b2c3d47e5f8a6b0c1d2e3f4a5b"
    ],
    [
      "tuple(string,bytes,u32)",
      Key.bytesOf(Key.Tuple(Key.String, Key.Bytes, Key.U32), ["a\0", Uint8Array.of(1), 7]),
      "61010100" + "010200" + "00000007"
    ],
    ["desc(string)", Key.bytesOf(Key.Desc(Key.String), "a"), "9eff"]
  ]
  it("is the one that stores on disk have", () => {
    for (const [fingerprint, bytes, expected] of layouts) {
      assert.strictEqual(Buffer.from(bytes ?? []).toString("hex"), expected, fingerprint)
      assert.strictEqual(Key.parse(fingerprint)?.fingerprint, fingerprint)
    }
  })

  it("has no name but its own", () => {
    const strange = [
      "",
      "text",
      "tuple()",
      "tuple(string",
      "tuple(string,)",
      "desc(int,int)",
      "desc()",
      "tuple(int)x"
    ]
    for (const fingerprint of strange) assert.isUndefined(Key.parse(fingerprint), fingerprint)
  })
})

describe("Key refuses", () => {
  const target = new Uint8Array(64)
  const refused = (key: Key.Key<unknown, unknown>, values: ReadonlyArray<unknown>) =>
    it(`${key.fingerprint}: what is not one of its values`, () => {
      for (const value of values) assert.strictEqual(key.encode(value, target, 0), Key.Refused)
    })
  const notNumbers = [undefined, null, "1", NaN, {}, []]
  refused(Key.String, [undefined, null, 1, "\ud800", "a\udc00", "a".repeat(30) + "\ud83d"])
  refused(Key.Bytes, [undefined, null, "a", [1], new Uint16Array(1)])
  refused(Key.U32, [...notNumbers, -1, 0.5, 2 ** 32, 1n])
  refused(Key.U64, [...notNumbers, 1, -1n, 2n ** 64n])
  refused(Key.Int, [...notNumbers, 0.5, 2 ** 53, -(2 ** 53), Infinity, 1n])
  refused(Key.Float, [...notNumbers, 1n])
  refused(Key.Bool, [undefined, null, 0, 1, "true"])
  refused(Key.Timestamp, [
    undefined,
    null,
    0,
    new Date(0),
    { epochMilliseconds: 0 },
    DateTime.makeZonedUnsafe(0, { timeZone: "Europe/Berlin" })
  ])
  refused(Key.Uuid, [
    undefined,
    "",
    "0190a1b2c3d47e5f8a6b0c1d2e3f4a5b",
    "0190a1b2-c3d4-7e5f-8a6b-0c1d2e3f4a5g",
    "0190a1b2-c3d4-7e5f-8a6b_0c1d2e3f4a5b",
    "0190a1b2-c3d4-7e5f-8a6b-0c1d2e3f4a5`"
  ])
  refused(Key.Tuple(Key.String, Key.Int), [undefined, null, "a", [], ["a"], ["a", 1, 2], [1, "a"], [
    "a",
    0.5
  ]])
  refused(Key.Desc(Key.Int), notNumbers)
})

describe("Key prefix", () => {
  const range = (
    key: Key.Key<unknown, unknown>,
    prefix: unknown
  ): readonly [Uint8Array, Uint8Array | undefined] => {
    const target = new Uint8Array(1_024)
    const length = key.encodePrefix(prefix, target, 0)
    assert.isAtLeast(length, 0)
    const low = target.slice(0, length)
    const end = Key.successor(target, 0, length)
    return [low, end < 0 ? undefined : target.slice(0, end)]
  }
  const within = (bytes: Uint8Array, [low, high]: readonly [Uint8Array, Uint8Array | undefined]): boolean =>
    byBytes(bytes, low) >= 0 && (high === undefined || byBytes(bytes, high) < 0)

  it("as the first part of a tuple: exactly what begins with it, in this form too (seed 8)", () => {
    const chance = random(8)
    let hits = 0
    for (let i = 0; i < cases; i++) {
      const [prefix, whole] = [bytes(chance), bytes(chance)]
      const begins = Buffer.compare(whole.subarray(0, prefix.length), prefix) === 0
      const target = new Uint8Array(1_024)
      const low = target.slice(0, Key.Bytes.encodePartPrefix(prefix, target, 0))
      const part = target.slice(0, Key.Bytes.encodePart(whole, target, 0))
      assert.strictEqual(Buffer.compare(part.subarray(0, low.length), low) === 0, begins, `case ${i}`)
      if (begins) hits++
    }
    assert.isAbove(hits, cases / 40)
    const short = new Uint8Array(3)
    assert.strictEqual(Key.String.encodePartPrefix("abcd", short, 0), Key.Full)
    assert.strictEqual(Key.Int.encodePartPrefix(1 as never, short, 0), Key.Refused)
    assert.strictEqual(Key.Desc(Key.String).encodePartPrefix("a" as never, short, 0), Key.Refused)
  })

  it("string and bytes: exactly what begins with it (seed 7)", () => {
    const chance = random(7)
    let hits = 0
    for (let i = 0; i < cases; i++) {
      const [prefix, whole] = [text(chance), text(chance)]
      const starts = Array.from(whole).slice(0, Array.from(prefix).length).join("") === prefix
      assert.strictEqual(within(encoded(Key.String, whole), range(Key.String, prefix)), starts, `case ${i}`)
      const [low, key] = [bytes(chance), bytes(chance)]
      const begins = Buffer.compare(key.subarray(0, low.length), low) === 0
      assert.strictEqual(within(key, range(Key.Bytes, low)), begins, `case ${i}`)
      if (starts || begins) hits++
    }
    assert.isAbove(hits, cases / 20)
  })

  it("tuple: exactly what has the leading parts, whole (seed 8)", () => {
    const chance = random(8)
    const key = Key.Tuple(Key.String, Key.Desc(Key.Bytes), Key.U32)
    const draw = () => [text(chance), bytes(chance), chance.int(2)] as const
    let hits = 0
    for (let i = 0; i < cases; i++) {
      const [a, b] = [draw(), draw()]
      const near = chance.bool(0.5) ? [a[0], chance.bool(0.5) ? a[1] : b[1], b[2]] as const : b
      const length = chance.int(4)
      const equal = a.slice(0, length).every((part, at) => order(part, near[at]))
      assert.strictEqual(within(encoded(key, near), range(key, a.slice(0, length))), equal, `case ${i}`)
      if (equal) hits++
    }
    assert.isAbove(hits, cases / 10)
    assert.strictEqual(key.encodePrefix(["a", "b"] as never, new Uint8Array(64), 0), Key.Refused)
    assert.strictEqual(
      key.encodePrefix(["a", bytes(chance), 1, 2] as never, new Uint8Array(64), 0),
      Key.Refused
    )
  })
  const order = (a: unknown, b: unknown): boolean =>
    a instanceof Uint8Array && b instanceof Uint8Array ? byBytes(a, b) === 0 : a === b

  it("the open end of a range of nothing but ff", () => {
    assert.strictEqual(Key.successor(Uint8Array.of(), 0, 0), -1)
    assert.strictEqual(Key.successor(Uint8Array.of(0xff, 0xff), 0, 2), -1)
    assert.strictEqual(Key.successor(Uint8Array.of(7, 0xff, 0xff), 1, 3), -1)
    const bytes = Uint8Array.of(1, 0xfe, 0xff)
    assert.strictEqual(Key.successor(bytes, 0, 3), 2)
    assert.deepStrictEqual(Array.from(bytes.subarray(0, 2)), [1, 0xff])
  })

  it("is typed as any leading part", () => {
    const key = Key.Tuple(Key.String, Key.Timestamp)
    const target = new Uint8Array(64)
    assert.strictEqual(key.encodePrefix([], target, 0), 0)
    assert.strictEqual(key.encodePrefix(["roof"], target, 0), 5)
    assert.strictEqual(key.encodePrefix(["roof", DateTime.makeUnsafe(0)], target, 0), 13)
    // @ts-expect-error a part of another type
    assert.strictEqual(key.encodePrefix([1], target, 0), Key.Refused)
    // @ts-expect-error a key without prefixes
    assert.strictEqual(Key.Int.encodePrefix(1, target, 0), Key.Refused)
    // @ts-expect-error the set is closed
    const foreign: Key.Key<string> = { fingerprint: "mine" }
    assert.isObject(foreign)
  })
})
