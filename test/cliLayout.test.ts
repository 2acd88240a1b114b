/**
 * Keys and values by the layout alone: what is shown of a key, typed again, is that key.
 */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import { Layout, text } from "../src/cli/Layout.ts"
import * as Key from "../src/Key.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

type Any = Key.Key<unknown, unknown>

interface Kind {
  readonly key: Any
  readonly value: (chance: Random) => unknown
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const uuid = (chance: Random): string =>
  hexOf(chance.bytes(16)).replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5")

const texts = ["", "ada", "7", "-7", "\"quoted\"", "[1]", "null", "two words", "0x", "0xg1", "ä\n\0", "true"]

const plain: ReadonlyArray<Kind> = [
  { key: Key.U32, value: (chance) => chance.int(2 ** 32) },
  { key: Key.U64, value: (chance) => BigInt(`0x${hexOf(chance.bytes(8))}`) },
  { key: Key.Int, value: (chance) => chance.int(2 ** 40) - 2 ** 39 },
  { key: Key.Float, value: (chance) => chance.pick([0.5, -1e300, 3, 5e-324, Infinity, -Infinity]) },
  { key: Key.Bool, value: (chance) => chance.bool(0.5) },
  { key: Key.Uuid, value: uuid },
  { key: Key.Timestamp, value: (chance) => DateTime.makeUnsafe(chance.int(2 ** 41) - 2 ** 40) },
  // What begins with 0x and is hexadecimal is what is stored, so a name like that is typed so.
  { key: Key.String, value: (chance) => chance.pick(texts.filter((text) => text !== "0x")) }
] as ReadonlyArray<Kind>

const nested: ReadonlyArray<Kind> = [
  ...plain,
  { key: Key.Bytes, value: (chance) => chance.bytes(chance.int(9)) },
  ...plain.map(({ key, value }): Kind => ({ key: Key.Desc(key) as Any, value }))
]

const tuples: ReadonlyArray<Kind> = nested.flatMap((first) =>
  nested.map((second): Kind => ({
    key: Key.Tuple(first.key, Key.Tuple(second.key, Key.String)) as Any,
    value: (chance) => [first.value(chance), [second.value(chance), chance.pick(texts)]]
  }))
)

const layoutOf = (key: Any, format = "json"): Layout => new Layout(`${key.fingerprint} -> ${format}`)

describe("a layout", () => {
  for (const { key, value } of [...plain, ...tuples]) {
    it(`of ${key.fingerprint} takes the keys that it shows`, () => {
      const chance = random(7)
      const layout = layoutOf(key)
      for (let round = 0; round < 60; round++) {
        const stored = Key.bytesOf(key, value(chance))
        assert.isDefined(stored)
        const shown = text(layout.decodeKey(stored))
        const typed = layout.keyOf(shown)
        assert.strictEqual(typed && hexOf(typed), hexOf(stored), shown)
        assert.strictEqual(hexOf(layout.keyOf(`0x${hexOf(stored)}`) as Uint8Array), hexOf(stored))
      }
    })
  }

  it("takes keys as people write them", () => {
    const typed = (key: Any, text: string): unknown => {
      const layout = layoutOf(key)
      const stored = layout.keyOf(text)
      return stored && layout.decodeKey(stored)
    }
    assert.strictEqual(typed(Key.String as Any, "ada"), "ada")
    assert.strictEqual(typed(Key.String as Any, "\"ada\""), "ada")
    assert.strictEqual(typed(Key.String as Any, "42"), "42")
    assert.strictEqual(typed(Key.U64 as Any, "18446744073709551615"), 2n ** 64n - 1n)
    const noon = DateTime.makeUnsafe("2026-06-01T12:00:00Z")
    for (const text of ["2026-06-01T12:00:00Z", "\"2026-06-01T12:00:00Z\"", "1780315200000"]) {
      assert.deepStrictEqual(typed(Key.Timestamp as Any, text), noon, text)
    }
    assert.deepStrictEqual(typed(Key.Timestamp as Any, "0"), DateTime.makeUnsafe(0))
    assert.deepStrictEqual(
      typed(Key.Tuple(Key.String, Key.Timestamp) as Any, "[\"a\", \"2026-06-01T12:00:00Z\"]"),
      [
        "a",
        noon
      ]
    )
    assert.strictEqual(
      hexOf(layoutOf(Key.Bytes as Any).keyOf("key 7") as Uint8Array),
      hexOf(Buffer.from("key 7"))
    )
  })

  it("refuses what is no key, and what no key begins with", () => {
    const pair = Key.Tuple(Key.String, Key.Int) as Any
    const wrong: ReadonlyArray<readonly [Any, string]> = [
      [Key.U32 as Any, "-1"],
      [Key.U32 as Any, "ada"],
      [Key.U32 as Any, ""],
      [Key.U64 as Any, "1.5"],
      [Key.U64 as Any, "18446744073709551616"],
      [Key.Int as Any, "1e400"],
      // Half of a stored key, not 291.
      [Key.Int as Any, "0x123"],
      [Key.U32 as Any, "0x1"],
      [Key.Float as Any, "0x1"],
      [Key.Bool as Any, "yes"],
      [Key.Uuid as Any, "ada"],
      [Key.Timestamp as Any, "noon"],
      [pair, "ada"],
      [pair, "[\"ada\"]"],
      [pair, "[\"ada\", 1, 2]"],
      [pair, "[1, \"ada\"]"]
    ]
    for (const [key, text] of wrong) {
      assert.isUndefined(layoutOf(key).keyOf(text), `${key.fingerprint} ${text}`)
    }
    assert.isUndefined(layoutOf(Key.U32 as Any).prefixOf("1"))
    assert.isUndefined(layoutOf(pair).prefixOf("ada"))
    assert.strictEqual(hexOf(layoutOf(pair).prefixOf("[\"ada\"]") as Uint8Array), hexOf(Buffer.from("ada\0")))
    assert.strictEqual(hexOf(layoutOf(Key.String as Any).prefixOf("a") as Uint8Array), "61")
  })

  it("shows what it does not know, and what is stored otherwise, as bytes", () => {
    const stored = Buffer.from("\x01{\"a\":1}")
    const lane = new Layout("an index by string of u32 -> lane")
    assert.strictEqual(lane.decodeKey(stored), stored)
    assert.strictEqual(lane.decodeValue(stored), stored)
    assert.isUndefined(lane.keyOf("ada"))
    assert.strictEqual(hexOf(lane.keyOf("0x61") as Uint8Array), "61")
    assert.deepStrictEqual(layoutOf(Key.U32 as Any).decodeValue(stored), { a: 1 })
    assert.deepStrictEqual(layoutOf(Key.U32 as Any).decodeValue(Buffer.from("\x80\x01{\"a\":1}", "latin1")), {
      a: 1
    })
    assert.isNull(layoutOf(Key.U32 as Any).decodeValue(Buffer.from("\x01null")))
    const broken = Buffer.from("\x01{")
    assert.strictEqual(layoutOf(Key.U32 as Any).decodeValue(broken), broken)
    assert.strictEqual(layoutOf(Key.U32 as Any).decodeKey(broken), broken)
    assert.strictEqual(
      layoutOf(Key.U32 as Any, "int by sum").decodeValue(Buffer.from("800000000000002a", "hex")),
      42
    )
    assert.strictEqual(text(Buffer.from("a\0")), "a\\x00")
  })
})
