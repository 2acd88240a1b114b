/**
 * What a transaction reads: its own writes over its snapshot.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Disk } from "../src/disk/Disk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import { random } from "./support/random.ts"
import { admitted, refusal, suite, upTo } from "./support/stores.ts"
import { own, put, read, Words, words, write } from "./support/words.ts"

const Blobs = Keyspace.bytes("blobs")

suite("own writes", (test) => {
  test("gets and ranges see them, others do not", () =>
    Effect.gen(function*() {
      yield* write(put("b", "d", "f"))
      yield* write(Effect.gen(function*() {
        yield* put("a", "c")
        yield* Words.put("d", "new")
        yield* Words.remove("f")
        assert.deepStrictEqual(yield* own, ["a", "b", "c", "d"])
        assert.deepStrictEqual(yield* Stream.runCollect(Words.keys({ reverse: true })), ["d", "c", "b", "a"])
        assert.deepStrictEqual(yield* Words.getMany(["a", "d", "f"]), [
          Option.some("a"),
          Option.some("new"),
          Option.none()
        ])
        assert.deepStrictEqual(yield* Words.has("f"), false)
        assert.deepStrictEqual(
          Option.map(yield* Words.first({ from: "bb" }), (entry) => entry.key),
          Option.some("c")
        )
        assert.deepStrictEqual(
          Option.map(yield* Words.first({ reverse: true }), (entry) => entry.value),
          Option.some("new")
        )
      }))
      assert.deepStrictEqual(yield* words, ["a", "b", "c", "d"])
    }))

  test("a read boundary inside a transaction reads through it", () =>
    Effect.gen(function*() {
      yield* write(Effect.gen(function*() {
        yield* put("a")
        assert.deepStrictEqual(yield* words, ["a"])
        assert.deepStrictEqual(yield* Stream.runCollect(Words.keys().pipe(Snapshot.stream())), ["a"])
        const { at } = yield* Snapshot.Snapshot
        const before = Stream.runCollect(Words.keys()).pipe(Snapshot.read({ at }))
        assert.deepStrictEqual(yield* before, [], "unless it names its LSN")
      }))
    }))

  for (const reverse of [false, true]) {
    test(`a key that a range answers is the reader's to change, ${reverse ? "descending" : "ascending"}`, () =>
      Effect.gen(function*() {
        const raw = yield* Blobs.raw
        const value = Uint8Array.of(1)
        const keys = Array.from(
          { length: 3_000 },
          (_, number) => Uint8Array.of(5, number >>> 8, number & 0xff)
        )
        const stored = keys.filter((_, number) => number % 3 !== 1).map((key) => ({ key, value }))
        yield* admitted(() => raw.batchUnsafe(stored))
        let runs = 0
        const body = Effect.gen(function*() {
          runs++
          // So that own writes are laid over every chunk.
          for (let number = 1; number < keys.length; number += 3) {
            yield* Blobs.put(keys[number] as Uint8Array, value)
          }
          const seen: Array<string> = []
          yield* Stream.runForEach(Blobs.range({ reverse, limit: 2_500 }), ({ key }) =>
            Effect.sync(() => {
              seen.push(Buffer.from(key).toString("hex"))
              key.fill(reverse ? 0xff : 0)
            }))
          const all = keys.map((key) => Buffer.from(key).toString("hex"))
          assert.deepStrictEqual(seen, (reverse ? all.reverse() : all).slice(0, 2_500))
          // In what was read, at its last third: the body has to run again.
          const theirs = keys[reverse ? 900 : 2_100] as Uint8Array
          if (runs === 1) yield* admitted(() => raw.putUnsafe(theirs, Uint8Array.of(2)))
        })
        yield* write(body)
        assert.strictEqual(runs, 2)
      }))
  }

  test("clear hides what is stored, and what is written after it is seen", () =>
    Effect.gen(function*() {
      yield* write(put("a", "b"))
      yield* write(Effect.gen(function*() {
        yield* put("lost")
        yield* Words.clear
        assert.deepStrictEqual(yield* own, [])
        assert.deepStrictEqual(yield* Words.get("a"), Option.none())
        assert.isTrue(yield* Words.insert("b", "again"))
        yield* put("c")
        assert.deepStrictEqual(yield* own, ["b", "c"])
      }))
      assert.deepStrictEqual(yield* words, ["b", "c"])
      assert.deepStrictEqual(yield* read(Words.get("b")), Option.some("again"))
      yield* write(Effect.andThen(Words.drop, put("z")))
      assert.deepStrictEqual(yield* words, ["z"])
    }))

  test("a range that is being read sees writes ahead of it, and goes on past a clear", () =>
    Effect.gen(function*() {
      yield* write(put(...upTo(1_200).map((n) => `k${1_000 + n}`)))
      for (const reverse of [false, true]) {
        const seen: Array<string> = []
        yield* Effect.flip(write(Effect.gen(function*() {
          yield* Stream.runForEach(Words.keys({ reverse }), (key) => {
            seen.push(key)
            return seen.length === 1 ? put("a", "z") : Effect.void
          })
          return yield* Effect.fail("rolled back")
        })))
        assert.strictEqual(seen.length, 1_201, "the one ahead, not the one behind")
        assert.strictEqual(seen.at(-1), reverse ? "a" : "z")
        let rows = 0
        yield* Effect.flip(write(Effect.gen(function*() {
          yield* Stream.runForEach(Words.keys({ reverse }), () => rows++ === 0 ? Words.clear : Effect.void)
          return yield* Effect.fail("rolled back")
        })))
        assert.isBelow(rows, 1_200)
      }
    }))

  test("ranges over stored and own writes equal those of a model", () =>
    Effect.gen(function*() {
      const { bool, int } = random(7)
      const key = () => `k${String(int(1_500)).padStart(4, "0")}`
      const stored = new Map(upTo(900).map(() => key()).map((k) => [k, k]))
      yield* write(put(...stored.keys()))
      for (let round = 0; round < 30; round++) {
        const model = new Map(stored)
        yield* Effect.flip(write(Effect.gen(function*() {
          for (let step = int(300); step > 0; step--) {
            const k = key()
            if (int(150) === 0) {
              yield* Words.clear
              model.clear()
            } else if (bool(0.5)) {
              yield* Words.remove(k)
              model.delete(k)
            } else {
              yield* Words.put(k, "own")
              model.set(k, "own")
            }
          }
          for (let ranges = 0; ranges < 6; ranges++) {
            const options = {
              from: bool(0.5) ? key() : undefined,
              until: bool(0.5) ? key() : undefined,
              reverse: bool(0.5),
              limit: bool(0.5) ? int(700) : undefined
            }
            const expected = [...model].filter(([k]) =>
              (options.from === undefined || k >= options.from) &&
              (options.until === undefined || k < options.until)
            ).sort(([a], [b]) => (a < b ? -1 : 1))
            if (options.reverse) expected.reverse()
            const rows = yield* Stream.runCollect(Words.range(options))
            assert.deepStrictEqual(
              rows.map((row) => [row.key, row.value]),
              expected.slice(0, options.limit),
              `round ${round}`
            )
          }
          return yield* Effect.fail("rolled back")
        })))
      }
    }))

  test("first inside a transaction does not read large values that it does not answer", () =>
    Effect.gen(function*() {
      const Blobs = Keyspace.bytes("blobs")
      yield* Effect.forEach(upTo(20), (n) => write(Blobs.put(Uint8Array.of(n), new Uint8Array(1 << 20))), {
        discard: true
      })
      const { counters } = yield* Disk
      const before = counters.readBytes
      yield* write(Effect.gen(function*() {
        yield* Blobs.remove(Uint8Array.of(0))
        const first = Option.getOrThrow(yield* Blobs.first())
        assert.deepStrictEqual(first.key, Uint8Array.of(1))
      }))
      assert.isBelow(counters.readBytes - before, 5 << 20)
    }))

  test(
    "limits of a transaction are named, and what came before them can still be committed",
    () =>
      Effect.gen(function*() {
        yield* write(Effect.gen(function*() {
          yield* put("a")
          const long = yield* refusal(Words.put("k".repeat(257), ""))
          assert.deepInclude(long, { _tag: "LimitExceeded", limit: "keyBytes", actual: 257, maximum: 256 })
          const large = yield* refusal(Words.put("k", "v".repeat(5_000)))
          assert.deepInclude(large, { limit: "valueBytes", maximum: 4_096 })
          yield* put("z")
        }))
        assert.deepStrictEqual(yield* words, ["a", "z"])
      }),
    { limits: { keyBytes: 256, valueBytes: 4_096, transactionBytes: 8_192 } }
  )
})
