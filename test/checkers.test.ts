/**
 * The checkers of histories find what they are for: each anomaly in a history made by hand, and nothing in good ones.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Attempt, Life, Outcome, Transaction } from "./support/history.ts"
import { check } from "./support/historyChecks.ts"
import type { Observed } from "./support/historyGraph.ts"
import type { ListOp } from "./support/historyLists.ts"
import { checkLists } from "./support/historyLists.ts"
import type { RegisterOp } from "./support/historyRegisters.ts"
import { checkBank, checkRegisters } from "./support/historyRegisters.ts"
import { checkReplay } from "./support/historyReplay.ts"
import type { State } from "./support/storeModel.ts"

const r = (key: string, ...elements: Array<string>): ListOp => ["r", key, elements]
const append = (key: string, element: string): ListOp => ["append", key, element]
const get = (key: string, value: string | undefined): RegisterOp => ["r", key, value]
const set = (key: string, value: string): RegisterOp => ["w", key, value]

/** Transactions with ids from 1; all at the same time, unless they are in order. */
const at = <Op>(
  order: "at once" | "in order",
  bodies: ReadonlyArray<ReadonlyArray<Op> | readonly [Observed<Op>["status"], ReadonlyArray<Op>]>
): ReadonlyArray<Observed<Op>> =>
  bodies.map((body, index) => {
    const [status, ops] = isMarked(body) ? body : ["ok" as const, body]
    const invoked = order === "in order" ? 2 * index : index
    const ended = order === "in order" ? invoked + 1 : 100
    return { id: index + 1, invoked, ended: status === "info" ? Infinity : ended, status, ops }
  })

const isMarked = <Op>(
  body: ReadonlyArray<Op> | readonly [Observed<Op>["status"], ReadonlyArray<Op>]
): body is readonly [Observed<Op>["status"], ReadonlyArray<Op>] => typeof body[0] === "string"

const time = { until: Infinity }
const none = new Map<string, never>()

type Lists = Parameters<typeof at<ListOp>>[1]
type Registers = Parameters<typeof at<RegisterOp>>[1]

describe("lists", () => {
  const names = (order: "at once" | "in order", bodies: Lists): ReadonlyArray<string> =>
    checkLists(at(order, bodies), none, time).map(({ name }) => name)

  const found: ReadonlyArray<readonly [name: string, order: "at once" | "in order", bodies: Lists]> = [
    ["G0", "at once", [
      [append("x", "1"), append("y", "1")],
      [append("x", "2"), append("y", "2")],
      [r("x", "1", "2"), r("y", "2", "1")]
    ]],
    ["G1a", "at once", [["fail", [append("x", "1")]], [r("x", "1")]]],
    ["G1b", "at once", [[append("x", "1"), append("x", "2")], [r("x", "1")]]],
    ["G1c", "at once", [[append("x", "1"), r("y", "1")], [append("y", "1"), r("x", "1")]]],
    ["G-single", "at once", [
      [append("x", "1"), append("y", "1")],
      [r("x", "1"), r("y")]
    ]],
    ["G2", "at once", [[r("x"), append("y", "1")], [r("y"), append("x", "1")]]],
    ["G1c-realtime", "in order", [[r("x", "1")], [append("x", "1")]]],
    ["G-single-realtime", "in order", [[append("x", "1")], [r("x")]]],
    ["lost update", "at once", [[r("x"), append("x", "1")], [r("x"), append("x", "2")]]],
    ["incompatible order", "at once", [
      [append("x", "1")],
      [append("x", "2")],
      [r("x", "1", "2")],
      [r("x", "2", "1")]
    ]],
    ["duplicate elements", "at once", [[append("x", "1")], [r("x", "1", "1")]]],
    ["garbage", "at once", [[r("x", "9")]]],
    ["internal", "at once", [[append("x", "1"), r("x")]]],
    ["unusable", "at once", [[append("x", "1")], [append("x", "1")]]]
  ]
  for (const [name, order, bodies] of found) {
    it(`show ${name}`, () => assert.include(names(order, bodies), name))
  }

  it("show no anomaly that is not there", () => {
    const good: ReadonlyArray<readonly ["at once" | "in order", Lists]> = [
      ["in order", [[append("x", "1")], [r("x", "1"), append("x", "2")], [
        r("x", "1", "2"),
        append("y", "1")
      ]]],
      // One that began before another had ended may come before or after it.
      ["at once", [[append("x", "1")], [r("x")], [r("x", "1")]]],
      // Nobody knows what became of it: it may be seen, or not.
      ["in order", [["info", [append("x", "1"), r("x", "7")]], [r("x", "1")]]],
      ["in order", [["info", [append("x", "1")]], [r("x")]]],
      ["at once", [[r("x"), append("x", "1"), r("x", "1"), append("x", "2"), r("x", "1", "2")], [
        r("x", "1", "2")
      ]]],
      ["in order", [["fail", [append("x", "1")]], [r("x")]]]
    ]
    for (const [order, bodies] of good) {
      assert.deepStrictEqual(names(order, bodies), [], JSON.stringify(bodies))
    }
  })

  it("take what was committed and not seen to come last", () => {
    const names = checkLists(
      at("at once", [[append("x", "1")], [r("x"), append("x", "2")], [r("x", "2")]]),
      none,
      time
    )
    assert.deepStrictEqual(names, [])
    const ordered = [[append("x", "1")], [r("x"), append("x", "2")], [r("x", "2")]]
    assert.deepStrictEqual(checkLists(at("in order", ordered), none, time).map(({ name }) => name), [
      "G0-realtime"
    ])
  })

  it("tell the cycle, and what was there before", () => {
    const [anomaly] = checkLists(
      at("at once", [[r("x"), append("y", "1")], [r("y"), append("x", "1")]]),
      none,
      time
    )
    assert.strictEqual(
      anomaly?.text,
      "T1 -rw→ T2 (appended to x behind []), T2 -rw→ T1 (appended to y behind [])"
    )
    const initial = new Map([["x", ["0"]]])
    assert.deepStrictEqual(checkLists(at("at once", [[r("x", "0")]]), initial, time), [])
    assert.strictEqual(checkLists(at("at once", [[r("x")]]), initial, time)[0]?.name, "incompatible order")
  })

  it("leave the order in time alone once the end has begun", () => {
    const bodies = at("in order", [[append("x", "1")], [r("x")]])
    assert.deepStrictEqual(checkLists(bodies, none, { until: 3 }), [])
  })
})

describe("registers", () => {
  const names = (order: "at once" | "in order", bodies: Registers): ReadonlyArray<string> =>
    checkRegisters(at(order, bodies), none, time).map(({ name }) => name)

  const found: ReadonlyArray<readonly [name: string, order: "at once" | "in order", bodies: Registers]> = [
    ["G1a", "at once", [["fail", [set("x", "1")]], [get("x", "1")]]],
    ["G1b", "at once", [[set("x", "1"), set("x", "2")], [get("x", "1")]]],
    ["G1c", "at once", [[set("x", "1"), get("y", "1")], [set("y", "1"), get("x", "1")]]],
    ["G-single", "at once", [[set("x", "1"), set("y", "1")], [get("x", "1"), get("y", undefined)]]],
    ["G2", "at once", [[get("x", undefined), set("y", "1")], [get("y", undefined), set("x", "1")]]],
    ["G-single-realtime", "in order", [[set("x", "1")], [get("x", undefined)]]],
    ["lost update", "at once", [[set("x", "0")], [get("x", "0"), set("x", "1")], [
      get("x", "0"),
      set("x", "2")
    ]]],
    ["garbage", "at once", [[get("x", "9")]]],
    ["internal", "at once", [[set("x", "1"), get("x", undefined)]]],
    ["internal", "at once", [[set("x", "1")], [get("x", undefined), get("x", "1")]]]
  ]
  for (const [name, order, bodies] of found) {
    it(`show ${name}, by ${JSON.stringify(bodies)}`, () => assert.include(names(order, bodies), name))
  }

  it("show no anomaly that is not there", () => {
    const good: ReadonlyArray<readonly ["at once" | "in order", Registers]> = [
      ["in order", [[set("x", "1")], [get("x", "1"), set("x", "2")], [get("x", "2")]]],
      ["at once", [[get("x", "1")], [set("x", "1")], [get("x", undefined)]]],
      ["in order", [["info", [set("x", "1")]], [get("x", "1")], [get("x", "1")]]],
      ["in order", [["info", [set("x", "1")]], [get("x", undefined)]]]
    ]
    for (const [order, bodies] of good) {
      assert.deepStrictEqual(names(order, bodies), [], JSON.stringify(bodies))
    }
  })
})

it("accounts show a sum that has changed", () => {
  assert.deepStrictEqual(checkBank([{ id: 1, balances: [1, 2, 3] }], 6), [])
  assert.strictEqual(checkBank([{ id: 1, balances: [1, 2, 4] }], 6)[0]?.name, "total")
})

/** A history of one life by hand: each commit puts one key, or looks at it. */
let ids = 0
const done = (
  outcome: Outcome,
  attempt: Attempt,
  more: Partial<Transaction> = {}
): Transaction => ({
  id: ++ids,
  door: "transact",
  durability: "synced",
  invoked: ids * 2,
  ended: ids * 2 + 1,
  attempts: [attempt],
  appended: outcome._tag === "committed" && attempt.steps.some(({ _tag }) => _tag === "put")
    ? outcome.lsn
    : undefined,
  outcome,
  hooked: false,
  ...more
})

const committed = (lsn: number): Outcome => ({ _tag: "committed", lsn })
const puts = (from: number, value: string): Attempt => ({
  at: from,
  steps: [{ _tag: "put", keyspace: "one", key: "x", value }],
  results: []
})
const sees = (from: number, value: string | undefined, lsn: number): Attempt => ({
  at: from,
  steps: [{ _tag: "get", keyspace: "one", key: "x" }],
  results: [[value === undefined ? undefined : { key: "x", value, lsn }]]
})
const both = (from: number, seen: string | undefined, seenLsn: number, value: string): Attempt => ({
  at: from,
  steps: [...sees(from, seen, seenLsn).steps, ...puts(from, value).steps],
  results: sees(from, seen, seenLsn).results
})
const holds = (value: string, lsn: number): State => new Map([["one", [{ key: "x", value, lsn }]]])
const empty: State = new Map()

const life = (transactions: ReadonlyArray<Transaction>, more: Partial<Life> = {}): Life => ({
  found: empty,
  foundAt: 0,
  transactions,
  sessions: [],
  promised: 0,
  broken: Infinity,
  end: "closed",
  ...more
})

describe("replay", () => {
  const names = (...history: ReadonlyArray<Life>): ReadonlyArray<string> =>
    checkReplay(history).problems.map(({ name }) => name)
  const cut = { end: "cut", broken: 1_000 } as const

  it("passes what happened in the order of LSNs", () => {
    const history = [
      life([
        done(committed(10), puts(5, "a")),
        done(committed(20), both(15, "a", 10, "b")),
        done(committed(25), sees(25, "b", 20))
      ]),
      life([], { found: holds("b", 20) })
    ]
    assert.deepStrictEqual(check(history), { problems: [], lost: 0 })
  })

  it("finds what was read of another state", () => {
    assert.deepStrictEqual(
      names(life([done(committed(10), puts(5, "a")), done(committed(20), both(5, undefined, 0, "b"))])),
      ["not serializable"]
    )
    assert.deepStrictEqual(
      names(life([done(committed(10), puts(5, "a")), done(committed(20), both(15, "a", 9, "b"))])),
      ["not serializable", "not a snapshot"],
      "the right value with a wrong version"
    )
    assert.include(
      names(life([done({ _tag: "failed" }, sees(5, "a", 10)), done(committed(10), puts(5, "a"))])),
      "not a snapshot",
      "of a body that failed"
    )
  })

  it("finds answers that the log does not bear out", () => {
    assert.deepStrictEqual(names(life([done({ _tag: "failed" }, puts(5, "a"), { appended: 10 })])), [
      "committed though it failed"
    ])
    assert.deepStrictEqual(names(life([done(committed(11), puts(5, "a"), { appended: 10 })])), ["wrong LSN"])
    assert.include(
      names(life([done(committed(10), puts(5, "a")), done(committed(10), puts(5, "b"))])),
      "one LSN twice"
    )
    assert.include(
      names(life([done(committed(10), puts(5, "a"), { appended: undefined })])),
      "not serializable"
    )
  })

  it("finds what is not in the order of time", () => {
    const stale = [done(committed(10), puts(5, "a")), done(committed(5), sees(5, undefined, 0))]
    assert.deepStrictEqual(names(life(stale)), ["not in real time"])
    assert.deepStrictEqual(
      names(life(stale, { end: "cut", broken: 0 })),
      [],
      "a store that has died shows what is durable"
    )
    assert.deepStrictEqual(
      names(life([done(committed(20), puts(5, "a")), done(committed(10), puts(5, "b"))])),
      ["not in real time"]
    )
  })

  it("allows a crash to take commits from the end, and nothing that was promised", () => {
    const memory = { durability: "memory" } as const
    const writes = (
      first: Partial<Transaction>,
      second: Partial<Transaction>
    ): ReadonlyArray<Transaction> => [
      done(committed(10), puts(5, "a"), { ...memory, ...first }),
      done(committed(20), puts(15, "b"), { ...memory, ...second })
    ]
    const after = (found: State): Life => life([], { found })
    assert.deepStrictEqual(check([life(writes({}, {}), cut), after(empty)]), { problems: [], lost: 2 })
    assert.deepStrictEqual(check([life(writes({}, {}), cut), after(holds("a", 10))]), {
      problems: [],
      lost: 1
    })
    assert.deepStrictEqual(names(life(writes({}, {}), cut), after(holds("c", 10))), [
      "no prefix of the commits"
    ])
    const lost = ["a promised commit is lost"]
    assert.deepStrictEqual(
      names(life(writes({}, { durability: "synced" }), cut), after(holds("a", 10))),
      lost
    )
    assert.deepStrictEqual(
      names(life(writes({}, { durability: "buffered" }), cut), after(holds("a", 10))),
      []
    )
    const killed = { end: "killed", broken: 1_000 } as const
    assert.deepStrictEqual(
      names(life(writes({}, { durability: "buffered" }), killed), after(holds("a", 10))),
      lost
    )
    assert.deepStrictEqual(names(life(writes({ hooked: true }, {}), cut), after(empty)), lost, "its hook ran")
    assert.deepStrictEqual(
      names(life(writes({}, {}), { ...cut, promised: 11 }), after(empty)),
      lost,
      "awaited"
    )
    assert.deepStrictEqual(names(life(writes({}, {})), after(holds("a", 10))), lost, "closed")
    const looked = [...writes({}, {}), done(committed(25), sees(25, "b", 20))]
    assert.deepStrictEqual(names(life(looked, cut), after(holds("a", 10))), lost, "a transaction had seen it")
    const glanced = [...writes({}, {}), done(committed(25), sees(25, "b", 20), { door: "read" })]
    assert.deepStrictEqual(names(life(glanced, cut), after(holds("a", 10))), [], "a snapshot had")
  })

  it("goes on from what was found", () => {
    const next = life([done(committed(15), both(12, "a", 10, "c"))], { found: holds("a", 10) })
    const first = life([
      done(committed(10), puts(5, "a")),
      done(committed(20), puts(15, "b"), { durability: "memory" })
    ], cut)
    assert.deepStrictEqual(check([first, next, life([], { found: holds("c", 15) })]), {
      problems: [],
      lost: 1
    })
  })
})

describe("sessions", () => {
  const of = (serial: number): Partial<Transaction> => ({
    session: { name: "s", serial },
    durability: "memory"
  })
  const names = (...history: ReadonlyArray<Life>): ReadonlyArray<string> =>
    check(history).problems.map(({ name }) => name)
  const told = (serial: number): Partial<Life> => ({ sessions: [{ name: "s", serial }] })
  const repeated = (serial: number, lsn: number | undefined): Transaction =>
    done({ _tag: "repeated", lsn }, { at: 5, steps: [], results: [] }, of(serial))
  const two = (): ReadonlyArray<Transaction> => [
    done(committed(10), puts(5, "a"), of(1)),
    done(committed(20), puts(15, "b"), of(2))
  ]
  const cut = { end: "cut", broken: 1_000 } as const

  it("pass where each serial is committed once, over all lives", () => {
    const next = life([done(committed(20), puts(15, "c"), of(2))], { ...told(1), found: holds("a", 10) })
    assert.deepStrictEqual(
      names(life([...two(), repeated(1, undefined), repeated(2, 20)], { ...cut, ...told(0) }), next),
      []
    )
  })

  it("show a serial that was accepted twice, in one life or in two", () => {
    assert.deepStrictEqual(
      names(life([...two(), done(committed(30), puts(25, "c"), of(2))])),
      ["serial accepted twice"]
    )
    const next = life([done(committed(30), puts(25, "c"), of(2))], { ...told(2), found: holds("b", 20) })
    assert.deepStrictEqual(names(life(two()), next), ["serial accepted twice"])
  })

  it("show a serial that was left out, told wrong, or repeated though it never was", () => {
    assert.deepStrictEqual(names(life([done(committed(10), puts(5, "a"), of(2))])), ["serial left out"])
    assert.deepStrictEqual(names(life(two()), life([], { ...told(1), found: holds("b", 20) })), [
      "wrong serial"
    ])
    assert.deepStrictEqual(names(life([...two(), repeated(3, undefined)])), ["wrong repeat"])
    assert.deepStrictEqual(names(life([...two(), repeated(2, 21)])), ["wrong repeat"])
  })

  it("hold a repeat to its durability", () => {
    const synced = { ...repeated(2, 20), durability: "synced" } as const
    assert.deepStrictEqual(
      names(life([...two(), synced], cut), life([], { found: holds("a", 10) })),
      ["a promised commit is lost"]
    )
  })
})
