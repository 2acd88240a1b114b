/**
 * Hostile bytes, at the level of the decoders: all that stands on a disk, changed in its fields by the hundred thousand,
 * with every checksum right again. Each case ends in data, which is then read to its end, or in a refusal: nothing is
 * thrown, nothing goes on and on, and what is allocated is bounded by what was there. `rot.hostile.test.ts` does the
 * same with whole stores, which cost a hundred times as much.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Codec from "../src/Codec.ts"
import { readReference, writeReference } from "../src/tree/page/Reference.ts"
import { figure } from "./support/figures.ts"
import type { Subject } from "./support/hostile.ts"
import { attack } from "./support/hostile.ts"
import { logSubjects } from "./support/hostileLog.ts"
import { pageSubjects } from "./support/hostilePages.ts"
import { subjects as keySubjects } from "./support/keySubjects.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { upTo } from "./support/stores.ts"

const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const all = process.env["HEARTWOOD_ROT"] === "all"
/** Cases of each share; there are 150 or so. */
const each = all ? 20_000 : 2_000

const Person = Schema.Struct({ name: Schema.String, photo: Schema.Uint8Array })

const encoded = <A>(codec: Codec.Codec<A>, value: A): Uint8Array => Uint8Array.from(codec.encode(value))

/** Whether a value decodes; a codec refuses by throwing `CodecFailed`, and by nothing else. */
const decodes = <A>(codec: Codec.Codec<A>) => (bytes: Buffer): boolean => {
  try {
    codec.encode(codec.decode(bytes))
    return true
  } catch (cause) {
    if (cause instanceof Codec.CodecFailed) return false
    throw cause
  }
}

/** Values, and references to those in the log. */
const valueSubjects = (chance: Random): ReadonlyArray<Subject & { readonly share: number }> => {
  const person = () => ({ name: "é".repeat(chance.int(9)), photo: chance.bytes(chance.int(20)) })
  const schema = Codec.schema(Person)
  const sources = <A>(codec: Codec.Codec<A>, value: () => A) => upTo(4).map(() => encoded(codec, value()))
  const set = () => upTo(chance.int(6)).map((n) => Uint8Array.of(n, ...chance.bytes(chance.int(9))))
  return [
    { name: "values by a schema", share: 5, sources: sources(schema, person), read: decodes(schema) },
    { name: "sets", share: 4, sources: sources(Codec.set, set), read: decodes(Codec.set) },
    {
      name: "integers",
      share: 1,
      sources: sources(Codec.int, () => chance.int(2 ** 40)),
      read: decodes(Codec.int)
    },
    {
      name: "floats",
      share: 1,
      sources: sources(Codec.float, () => chance.next()),
      read: decodes(Codec.float)
    },
    {
      name: "references",
      share: 1,
      sources: [Uint8Array.from(writeReference({ lsn: 2 ** 40, bytes: 9, checksum: -1 }))],
      read: (bytes) => readReference(bytes).bytes >= 0
    }
  ]
}

const keysSubject = (
  { key, value }: typeof keySubjects[number],
  chance: Random
): Subject & { readonly share: number } => {
  const target = new Uint8Array(512)
  return {
    name: `keys, ${key.fingerprint}`,
    share: 0.7,
    sources: upTo(8).map(() => target.slice(0, Math.max(0, key.encode(value(chance), target, 0)))),
    read: (bytes) => {
      const found = key.decode(bytes, 0, bytes.length)
      if (found === undefined) return false
      const length = key.encode(found, target, 0)
      assert.isTrue(bytes.equals(target.subarray(0, length)), "one key, two encodings")
      return true
    }
  }
}

describe("hostile bytes", () => {
  const chance = random(seed)
  const subjects = [
    ...logSubjects(chance),
    ...pageSubjects(chance),
    ...valueSubjects(chance),
    ...keySubjects.map((subject) => keysSubject(subject, chance))
  ]
  let cases = 0

  for (const subject of subjects) {
    it(`${subject.name} end in data or a refusal`, () => {
      const figures = attack(subject, Math.ceil(subject.share * each), seed, random(seed))
      cases += figures.tried
      figure("X3 hostile bytes", { cases: figures.tried }, subject.name, figures)
    }, 1_200_000)
  }

  it("are two hundred thousand cases", () => {
    assert.isAtLeast(cases, 200_000)
  })
})
