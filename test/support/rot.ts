/**
 * A store as small as stores can be that has some of everything, and what may come of it when something was done to its
 * files: the right data, or a typed error.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Disk } from "../../src/disk/Disk.ts"
import { FaultDisk } from "../../src/disk/FaultDisk.ts"
import type { Image } from "../../src/disk/FaultDisk.ts"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import { GROUP_MAGIC } from "../../src/log/Group.ts"
import { SEGMENT_HEADER_BYTES } from "../../src/log/Segment.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { Reason, StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import * as Verify from "../../src/Verify.ts"
import * as Broken from "./broken.ts"
import { Forge } from "./forge.ts"
import { upTo } from "./stores.ts"

const { directory, Words } = Broken
const Others = Keyspace.make("others", { key: Key.String, value: Schema.String })
const names = upTo(48).map((n) => `${String.fromCharCode(97 + n % 24)}${n}`)

/** Everything there is, in order. */
const readAll = Effect.gen(function*() {
  const words = yield* Stream.runCollect(Words.range().pipe(Snapshot.stream()))
  const others = yield* Stream.runCollect(Others.range().pipe(Snapshot.stream()))
  return [...words, ...others].map(({ key, value }) => `${key}=${value}`)
})

/** Waits until the last commit lies below a mark. */
const marked = Effect.gen(function*() {
  const { wal } = (yield* Store.Store).machine.parts
  const { marks } = wal.counters
  while (wal.counters.marks === marks) yield* Effect.sleep(1)
  yield* Effect.sleep(2)
})

export interface Small {
  readonly image: Image
  /** The same store when it was younger: before its newest checkpoint. */
  readonly earlier: Image
  readonly expected: ReadonlyArray<string>
}

/** Two checkpoints, a mini-page, a large value, two keyspaces, commits above; killed after its last mark. */
export const small: Effect.Effect<Small, StoreError> = Effect.gen(function*() {
  const { killImage } = yield* FaultDisk
  yield* Broken.opened(Effect.gen(function*() {
    yield* Broken.put(...names)
    yield* Words.put("large", "L".repeat(900)).pipe(Tx.transact())
    yield* Others.put("other", "one").pipe(Tx.transact())
  }))
  const earlier = killImage()
  return yield* Broken.opened(Effect.gen(function*() {
    // Of the leaf there is nothing in memory now, so this makes a mini-page.
    yield* Words.put("b1", "again").pipe(Tx.transact())
    yield* (yield* Store.Store).checkpoint
    yield* Words.put("c2", "last").pipe(Tx.transact())
    yield* Effect.andThen(Words.remove("d3"), Others.put("other", "two")).pipe(Tx.transact())
    yield* marked
    const image = killImage()
    const forge = new Forge(image, directory)
    assert.isTrue(forge.ids().some((id) => forge.packOf(id) !== 0), "it has a mini-page")
    return { image, earlier, expected: yield* readAll }
  }))
}).pipe((body) => Broken.onDisk(undefined, body))

/** A part of a file. */
export interface Range {
  readonly path: string
  readonly from: number
  readonly until: number
}

/**
 * The one limit: of a killed store the last data group is below no mark but the one behind it, so what hits both at
 * once takes that group away unnoticed. Where the two meet, and where they end.
 */
export const limitOf = (image: Image): Range & { readonly mark: number } => {
  const path = image.paths().findLast((name) => name.includes("/log-")) ?? ""
  const bytes = Buffer.from(image.read(path) ?? [])
  const starts: Array<number> = []
  let at = SEGMENT_HEADER_BYTES
  for (
    ;
    at + 64 <= bytes.length && bytes.readUInt32LE(at) === GROUP_MAGIC;
    at += bytes.readUInt32LE(at + 8)
  ) {
    starts.push(at)
  }
  return { path, from: starts.at(-2) ?? 0, mark: starts.at(-1) ?? 0, until: at }
}

export interface Counts {
  cases: number
  right: number
  readonly refused: Map<string, number>
  /** Looked at offline alone, and those of them in which something was found. */
  looked: number
  found: number
}

export const counts = (): Counts => ({ cases: 0, right: 0, refused: new Map(), looked: 0, found: 0 })

export const line = ({ cases, found, looked, refused, right }: Counts): string => {
  const reasons = [...refused].map(([tag, count]) => `${count} ${tag}`).join(", ")
  const offline = looked === 0 ? "" : `; ${looked} looked at offline, ${found} with findings`
  return `${cases} opened: ${right} right, ${reasons === "" ? "none refused" : reasons}${offline}`
}

export type Outcome =
  | { readonly _tag: "Rows"; readonly rows: ReadonlyArray<string> }
  | { readonly _tag: "Refused"; readonly reason: Reason }

const hangs = 20_000

type Opening = ReturnType<typeof Broken.opened<ReadonlyArray<string>, StoreError>>

/** Opens a store and reads everything; dies where that is anything but rows or a typed error. */
export const outcomeOf = (
  name: string,
  image: Image,
  read: Effect.Effect<ReadonlyArray<string>, StoreError, Store.Store> = readAll
): Effect.Effect<Outcome> => outcomeWith(name, image, (body) => body, read)

/** The same, with something around it. */
export const outcomeWith = (
  name: string,
  image: Image,
  around: (body: Opening) => Effect.Effect<ReadonlyArray<string>, StoreError, Disk | FaultDisk>,
  read: Effect.Effect<ReadonlyArray<string>, StoreError, Store.Store> = readAll
): Effect.Effect<Outcome> =>
  Effect.map(
    Effect.timeoutOption(Effect.exit(Broken.onDisk(image, around(Broken.opened(read)))), hangs),
    (found): Outcome => {
      if (Option.isNone(found)) throw new Error(`${name}: it hangs`)
      const exit = found.value
      if (Exit.isSuccess(exit)) return { _tag: "Rows", rows: exit.value }
      const error = Exit.findErrorOption(exit)
      if (error._tag === "None") throw new Error(`${name}: not a typed error: ${exit.cause}`)
      return { _tag: "Refused", reason: error.value.reason }
    }
  ).pipe(Effect.provide(Logger.layer([])))

/** What rot may be called; a `Defective` actor is a defect by another name. */
const allowed: ReadonlyArray<Reason["_tag"]> = ["Corrupted", "FormatTooNew"]

/** Opens a store that something was done to: it is as it was, or refuses in so many words, with a file and a byte. */
export const judge = (
  name: string,
  image: Image,
  expected: ReadonlyArray<string>,
  to: Counts,
  read?: Effect.Effect<ReadonlyArray<string>, StoreError, Store.Store>
): Effect.Effect<void> =>
  Effect.map(outcomeOf(name, image, read), (outcome) => {
    to.cases++
    if (outcome._tag === "Rows") {
      to.right++
      if (String(outcome.rows) !== String(expected)) assert.deepStrictEqual(outcome.rows, expected, name)
      return
    }
    const { reason } = outcome
    if (!allowed.includes(reason._tag)) assert.fail(`${name}: ${reason.message}`)
    if (reason._tag === "Corrupted") {
      assert.isTrue(reason.path.startsWith(`${directory}/`), `${name}: it names the file: ${reason.path}`)
      assert.isTrue(Number.isSafeInteger(reason.offset) && reason.offset >= 0, `${name}: ${reason.offset}`)
      assert.match(reason.message, /npx heartwood/, "it says what to run")
    }
    to.refused.set(reason._tag, (to.refused.get(reason._tag) ?? 0) + 1)
  })

/** Looks at a store offline: that ends, and throws nothing. Answers whether anything is wrong. */
export const look = (name: string, image: Image, to: Counts): Effect.Effect<boolean> =>
  Effect.map(
    Effect.exit(Broken.onDisk(image, Verify.verifyDisk({ path: directory }))),
    (exit) => {
      to.looked++
      if (Exit.isFailure(exit)) throw new Error(`${name}: ${exit.cause}`)
      const found = exit.value.findings.length > 0
      if (found) to.found++
      return found
    }
  )

export const filesOf = (image: Image) =>
  image.paths().filter((path) => !/\/(lock|log\.spare)/.test(path)).map((path) =>
    [path, Buffer.from(image.read(path) ?? [])] as const
  )

/** The same disk with one more file. */
export const withFile = (image: Image, path: string): Effect.Effect<Image, StoreError> =>
  Broken.onDisk(
    image,
    Effect.gen(function*() {
      const { open } = yield* Disk
      yield* (yield* open(path, { mode: "create" })).close
      return (yield* FaultDisk).killImage()
    })
  )
