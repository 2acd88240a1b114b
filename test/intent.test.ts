/**
 * What record an intent becomes, read back from the log.
 */
import { assert, describe, it } from "@effect/vitest"
import { Names } from "../src/actors/commit/Intent.ts"
import type { Intent, KeyspaceIntent } from "../src/actors/commit/Intent.ts"
import { GROUP_HEADER_BYTES, GroupKind } from "../src/log/Group.ts"
import { decodeDefinition, readForms } from "../src/log/RecordForm.ts"
import type { Write } from "../src/log/RecordForm.ts"
import type { Tail } from "../src/log/Tail.ts"
import { makeTail } from "./support/log.ts"
import { random } from "./support/random.ts"

interface Asked {
  readonly name: string
  readonly layout?: string
  readonly cleared?: boolean
  readonly dropped?: boolean
  /** A value of `undefined` removes. */
  readonly writes?: ReadonlyArray<readonly [key: string, value: string | undefined]>
}

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (value: Uint8Array): string => Buffer.from(value).toString()

const intentOf = (...keyspaces: ReadonlyArray<Asked>): Intent => ({
  keyspaces: () =>
    keyspaces.map((
      { cleared = false, dropped = false, layout = "string", name, writes = [] }
    ): KeyspaceIntent => ({
      name,
      layout,
      cleared,
      dropped,
      writes: () =>
        writes.map(([key, value]) => ({
          key: bytes(key),
          value: value === undefined ? undefined : bytes(value)
        }))
    })),
  durability: "memory"
})

/** A write as text, for comparing. */
const story = (write: Write): string => {
  switch (write.op) {
    case "createKeyspace": {
      const definition = decodeDefinition(Buffer.from(write.value))
      return definition._tag === "Valid"
        ? `create ${write.keyspace} ${text(write.key)}: ${definition.definition.layout}`
        : "an invalid definition"
    }
    case "put":
      return `put ${write.keyspace} ${text(write.key)}=${text(write.value)}`
    case "remove":
      return `remove ${write.keyspace} ${text(write.key)}`
    case "clear":
    case "dropKeyspace":
      return `${write.op} ${write.keyspace}`
    default:
      return write.op
  }
}

/** The records of the log, each as the stories of its writes. */
const records = (tail: Tail): Array<Array<string>> => {
  tail.seal()
  const found: Array<Array<string>> = []
  for (let group = tail.shift(); group !== undefined; group = tail.shift()) {
    if (group.kind !== GroupKind.data) continue
    const forms = readForms(
      group.bytes,
      GROUP_HEADER_BYTES,
      group.bytes.length,
      group.lsn + GROUP_HEADER_BYTES
    )
    if (forms._tag !== "Valid") return assert.fail("a record that cannot be read")
    for (const { writes } of forms.records) found.push(writes.map(story))
  }
  return found
}

/** Does with intents what the Wal does, and keeps what the log then says. */
class Log {
  readonly tail = makeTail({ segmentBytes: 1 << 20 })
  readonly names: Names

  constructor(known: Record<string, { readonly id: number; readonly layout: string }> = {}, nextId = 1) {
    this.names = new Names(new Map(Object.entries(known)), nextId)
  }

  /** The writes of the record; `nothing` where none was appended. */
  commit(intent: Intent): Array<string> | "nothing" | "mismatch" {
    if (this.names.mismatch(intent) !== undefined) return "mismatch"
    const count = this.names.encode(this.tail.begin(1), intent)
    if (count === 0) {
      this.tail.cancel()
      assert.isEmpty(records(this.tail))
      return "nothing"
    }
    this.tail.append()
    const [record = [], ...others] = records(this.tail)
    assert.isEmpty(others)
    assert.strictEqual(record.length, count, "the count of writes")
    return record
  }
}

describe("an intent", () => {
  it("makes its keyspace in the same record, once, with the first write", () => {
    const log = new Log()
    assert.deepStrictEqual(
      log.commit(
        intentOf({ name: "users", writes: [["a", "1"], ["b", "2"]] }, { name: "größe", writes: [["", ""]] })
      ),
      ["create 1 users: string", "put 1 a=1", "put 1 b=2", "create 2 größe: string", "put 2 ="]
    )
    assert.deepStrictEqual(
      log.commit(intentOf({ name: "users", writes: [["a", undefined], ["c", "3"]] })),
      ["remove 1 a", "put 1 c=3"]
    )
  })

  it("removes in a keyspace that is missing write nothing", () => {
    const log = new Log()
    assert.strictEqual(log.commit(intentOf({ name: "users", writes: [["a", undefined]] })), "nothing")
    assert.deepStrictEqual(
      log.commit(intentOf({ name: "users", writes: [["a", undefined], ["b", "2"], ["c", undefined]] })),
      ["create 1 users: string", "put 1 b=2", "remove 1 c"]
    )
  })

  it("clears, and drops, what there is and nothing else", () => {
    const log = new Log({ users: { id: 7, layout: "string" } }, 9)
    assert.strictEqual(log.commit(intentOf({ name: "others", cleared: true })), "nothing")
    assert.strictEqual(log.commit(intentOf({ name: "others", dropped: true })), "nothing")
    assert.strictEqual(log.commit(intentOf({ name: "users" })), "nothing")
    assert.deepStrictEqual(
      log.commit(intentOf({ name: "users", cleared: true, writes: [["a", undefined], ["b", "2"]] })),
      ["clear 7", "remove 7 a", "put 7 b=2"]
    )
    assert.deepStrictEqual(log.commit(intentOf({ name: "users", dropped: true })), ["dropKeyspace 7"])
    assert.strictEqual(log.commit(intentOf({ name: "users", dropped: true })), "nothing")
    assert.deepStrictEqual(
      log.commit(intentOf({ name: "users", writes: [["a", "1"]] })),
      ["create 9 users: string", "put 9 a=1"],
      "another keyspace of the same name"
    )
  })

  it("drops, then makes anew and writes, in one record; with another layout too", () => {
    const log = new Log({ users: { id: 1, layout: "string" } }, 2)
    assert.deepStrictEqual(
      log.commit(intentOf({
        name: "users",
        layout: "number",
        dropped: true,
        cleared: true,
        writes: [["x", undefined], ["a", "1"]]
      })),
      ["dropKeyspace 1", "create 2 users: number", "put 2 a=1"]
    )
    assert.strictEqual(log.commit(intentOf({ name: "users", writes: [["a", "1"]] })), "mismatch")
    assert.deepStrictEqual(
      log.commit(intentOf({ name: "users", layout: "number", dropped: true, writes: [["a", undefined]] })),
      ["dropKeyspace 2"]
    )
  })

  it("of another layout appends nothing, whatever else it says", () => {
    const log = new Log({ users: { id: 1, layout: "string" } }, 2)
    const bad = intentOf(
      { name: "fresh", writes: [["a", "1"]] },
      { name: "users", layout: "number", writes: [["a", "1"]] }
    )
    const error = log.names.mismatch(bad)
    assert.strictEqual(error?.reason._tag, "LayoutMismatch")
    assert.include(error?.message, "\"users\" is stored with key layout string, not number")
    assert.strictEqual(log.commit(bad), "mismatch")
    for (const asked of [{}, { cleared: true }]) {
      assert.strictEqual(log.commit(intentOf({ name: "users", layout: "number", ...asked })), "mismatch")
    }
    assert.deepStrictEqual(
      log.commit(intentOf({ name: "fresh", writes: [["a", "1"]] })),
      ["create 2 fresh: string", "put 2 a=1"],
      "the refused intent has made no keyspace"
    )
  })

  for (let seed = 1; seed <= 40; seed++) {
    it(`folds to what it asked for (seed ${seed})`, () => {
      const chance = random(seed)
      const log = new Log()
      const expected = new Map<string, { readonly layout: string; readonly rows: Map<string, string> }>()
      // The log's side: what a reader makes of the records alone.
      const names = new Map<number, string>()
      const folded = new Map<number, Map<string, string>>()
      const layouts = new Map<string, string>()
      for (let turn = 0; turn < 60; turn++) {
        const asked = ["a", "b", "c"].filter(() => chance.bool(0.6)).map((name): Asked => ({
          name,
          layout: chance.bool(0.9) ? "string" : "number",
          cleared: chance.bool(0.1),
          dropped: chance.bool(0.1),
          writes: ["k", "l", "m", "n"].filter(() => chance.bool(0.4)).map((key) =>
            [key, chance.bool(0.4) ? undefined : `${turn}`] as const
          )
        }))
        const clash = asked.some(({ dropped, layout, name }) => {
          const known = expected.get(name)
          return known !== undefined && known.layout !== layout && dropped === false
        })
        const record = log.commit(intentOf(...asked))
        assert.strictEqual(record === "mismatch", clash)
        if (clash) continue
        for (const { cleared, dropped, layout = "", name, writes = [] } of asked) {
          if (dropped === true) expected.delete(name)
          if (cleared === true) expected.get(name)?.rows.clear()
          for (const [key, value] of writes) {
            if (value === undefined) expected.get(name)?.rows.delete(key)
            else {
              if (!expected.has(name)) expected.set(name, { layout, rows: new Map() })
              expected.get(name)?.rows.set(key, value)
            }
          }
        }
        for (const write of record === "nothing" ? [] : record as Array<string>) {
          const [, op = "", number = "", rest = ""] = /^(\w+) (\d+) ?(.*)$/.exec(write) ?? []
          const id = Number(number)
          if (op === "create") {
            assert.isFalse(
              names.has(id) || [...folded.keys()].some((other) => other >= id),
              "ids are never used again"
            )
            names.set(id, rest.slice(0, 1))
            layouts.set(rest.slice(0, 1), rest.slice(3))
            folded.set(id, new Map())
            continue
          }
          const rows = folded.get(id)
          if (rows === undefined) return assert.fail(`${write}: no such keyspace`)
          if (op === "put") rows.set(rest.slice(0, 1), rest.slice(2))
          if (op === "remove") rows.delete(rest)
          if (op === "clear") rows.clear()
          if (op === "dropKeyspace") folded.delete(id)
        }
        const found = new Map([...folded].map(([id, rows]) => {
          const name = names.get(id) ?? ""
          return [name, { layout: layouts.get(name) ?? "", rows }]
        }))
        assert.strictEqual(found.size, folded.size, "one open keyspace of a name")
        for (const [name, keyspace] of expected) assert.deepStrictEqual(found.get(name), keyspace)
        assert.strictEqual(found.size, expected.size)
      }
    })
  }
})
