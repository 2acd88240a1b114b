/**
 * Every example runs as a reader would run it, and says what its comments promise.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"

const root = path.join(import.meta.dirname, "..", "examples")

interface Run {
  readonly args: (store: string) => ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  /** Where it looks for the directory, if not among its arguments. */
  readonly variable?: string
  readonly expected: ReadonlyArray<RegExp>
  /** What a second run over the same store says; not run again where absent. */
  readonly again?: ReadonlyArray<RegExp>
}

const people = [/Ada Lovelace/, /alan is Alan Turing\nada is Ada Lovelace/, /count: 3/]

const runs: Record<string, Run> = {
  "quickstart.ts": { args: (store) => [store], expected: people, again: people },
  "transactions.ts": {
    args: () => [],
    expected: [
      /order 1: a lamp for ada/,
      /order 4: OutOfStock/,
      /1 lamp, 2 candle, 3 candle/,
      /left: 0, 0; sold: 1, 2/
    ]
  },
  "outbox.ts": {
    args: () => [],
    expected: [
      /^mail to bo@example.com\n(mail to (ada|lin)@example.com\n){2}mail to later@example.com$/m,
      /ada@example.com, bo@example.com, later@example.com, lin@example.com; nothing is left/
    ]
  },
  "evolving.ts": {
    args: (store) => [store],
    expected: [
      /^Lovelace, Ada \(\?\); Turing, Alan \(\?\); Hopper, Grace \(1906\)$/m,
      /keyspace "people", written with codec version 3, was written by a newer declaration .*: upgrade the program/,
      /first: 'Ada', last: 'Lovelace', born: null/
    ]
  },
  "rawDoors.ts": {
    args: (store) => [store],
    expected: [/^100000 roots, 21081693 together\n10000 from 90000 to 99999$/m],
    again: [/^100000 roots/m]
  },
  "rollups.ts": {
    args: () => [],
    expected: [/newest: 9, 6/, /count: 3, sum: 19, max: 9/, /before: 3, after: 4/]
  },
  "recovery.ts": { args: (store) => [store], expected: [/none is lost/], again: [/none is lost/] },
  "crashTest.ts": {
    args: () => [],
    expected: [
      /^one transaction: 200 crashes, 0 violations$/m,
      /^two transactions: 50 crashes, [1-9]\d* violations$/m,
      /^After a power cut before operation \d+, \w+ bank\/.*: 2[0-9]00 cents of 3000\. Look at it with/m,
      /^again: the same$/m,
      /^a disk that lies: 50 crashes, [1-9]\d* violations$/m
    ]
  },
  "sessions.ts": {
    args: (store) => [store],
    expected: [/first process: killed/, /second process: killed/, /203 lines, \d+ words: each line once/],
    again: [/from line 204\n203 lines, \d+ words: each line once/]
  },
  "config.ts": {
    args: (store) => ["--path", store, "--durability", "buffered"],
    env: { HEARTWOOD_MEMORY: "64MiB" },
    expected: [/67108864 bytes of memory, buffered\nhello/]
  },
  "logins.ts": {
    args: () => [],
    env: { STORE_MEMORY: "64MiB" },
    variable: "STORE_PATH",
    expected: [/Login .*userId: 'ada'/s, /five milliseconds later: gone/]
  },
  "graph.ts": {
    args: (store) => [store],
    // Counted in another way by `test/graph.test.ts`.
    expected: [
      /Loaded 82,192 synsets/,
      /82,192 synsets, 117,977 edges/,
      /oak, oak tree: .*\n {2}is a kind of tree\n {4}is a kind of woody plant\n/,
      /is a kind of entity\n10 hypernyms, 47 hyponyms/
    ],
    again: [/All nouns are loaded already/, /82,192 synsets, 117,977 edges/, /10 hypernyms, 47 hyponyms/]
  },
  "cities.ts": {
    args: (store) => ["--directory", store, "--cities", "12000"],
    expected: [
      /12,000 cities, 36,000 records, [\d,]+ records\/s/,
      /heartwood\.checkpoint .* pages, .* written/,
      /├─ \.publish .* ms/,
      /[\d,]+ commits were acknowledged meanwhile/,
      /heartwood\.recovery .* commits replayed/,
      /Every acknowledged commit is there/
    ],
    again: [/They are all here from an earlier run/, /Every acknowledged commit is there/]
  }
}

const run = async (name: string, store: string, { args, env, variable }: Run): Promise<string> => {
  const child = spawn(process.execPath, [path.join(root, name), ...args(store)], {
    env: { ...process.env, ...env, ...(variable === undefined ? {} : { [variable]: store }) }
  })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => output += text)
  }
  const [code] = await once(child, "close")
  assert.strictEqual(code, 0, output)
  return output
}

describe("examples", () => {
  it("are all here", () => {
    const files = fs.readdirSync(root).filter((name) => name.endsWith(".ts"))
    assert.sameMembers(files, Object.keys(runs))
  })

  for (const [name, each] of Object.entries(runs)) {
    it(name, async () => {
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-example-"))
      const store = path.join(directory, "store")
      try {
        const first = await run(name, store, each)
        for (const expected of each.expected) assert.match(first, expected)
        if (each.again === undefined) return
        const second = await run(name, store, each)
        for (const expected of each.again) assert.match(second, expected)
      } finally {
        fs.rmSync(directory, { recursive: true, force: true })
      }
    })
  }
})
