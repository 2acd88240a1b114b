/**
 * Stores that something was done to: a volume with a known store, what may be done to it, and what opening it says.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type { Image } from "../../src/disk/FaultDisk.ts"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { Reason } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"

export const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })

export const directory = "/store"
/** Pages and segments as small as they can be. */
export const options: Store.Options = {
  path: directory,
  memory: "64 KiB",
  pageSize: "1 KiB",
  segmentSize: "4 KiB",
  checkpoint: { logBytes: "64 KiB" },
  limits: { undurableBytes: 8192, valueBytes: 4096, transactionBytes: 65_536, markDelayMillis: 0 }
}

/** Runs a body on a disk of its own that begins with an image. */
export const onDisk = <A, E>(
  image: Image | undefined,
  body: Effect.Effect<A, E, FaultDisk | Layer.Success<ReturnType<typeof layer>>>
): Effect.Effect<A, E> => Effect.provide(body, Layer.fresh(layer(image === undefined ? {} : { image })))

/** Opens the store for a body. */
export const opened = <A, E>(body: Effect.Effect<A, E, Store.Store>, asked: Store.Options = options) =>
  Effect.provide(body, Layer.fresh(Store.layerDisk(asked)))

export const put = (...words: ReadonlyArray<string>) =>
  Effect.forEach(words, (word) => Words.put(word, word.toUpperCase()), { discard: true }).pipe(Tx.transact())

/** All there is, in order. */
export const readAll = Effect.map(
  Stream.runCollect(Words.range().pipe(Snapshot.stream())),
  (rows) => rows.map(({ key, value }) => `${key}=${value}`)
)

/** What is on a disk now, the lock apart. */
export const digest = Effect.map(FaultDisk, (faults) => digestOf(faults.killImage()))
export const digestOf = (image: Image): ReadonlyMap<string, string> =>
  new Map(
    image.paths().filter((path) => !/\/lock(\.pid)?$/.test(path))
      .map((path) => [path, Buffer.from(image.read(path) ?? []).toString("base64")])
  )

/** The image that a body leaves behind. */
export const imageAfter = <E>(body: Effect.Effect<unknown, E, Store.Store>, asked?: Store.Options) =>
  onDisk(
    undefined,
    Effect.andThen(opened(body, asked), Effect.map(FaultDisk, (faults) => faults.killImage()))
  )

/** A store with three words, closed. */
export const three = imageAfter(put("a", "b", "c"))

/** The reason for which opening and reading fails; the rows where it does not. */
export const outcome = (asked: Store.Options = options) =>
  Effect.map(Effect.exit(opened(readAll, asked)), (exit): Reason | ReadonlyArray<string> => {
    if (Exit.isSuccess(exit)) return exit.value
    const error = Exit.findErrorOption(exit)
    if (error._tag === "Some") return error.value.reason
    throw new Error(`not a StoreError: ${String(exit.cause)}`)
  })

/** Opening must fail, in one sentence that says what to do, with nothing on the disk changed. */
export const refused = (asked: Store.Options = options) =>
  Effect.gen(function*() {
    const before = yield* digest
    const reason = yield* outcome(asked)
    assert(!Array.isArray(reason), `it opened, with ${String(reason)}`)
    assert.deepStrictEqual(yield* digest, before, "nothing is written, nothing is lost")
    const { message } = reason as Reason
    assert.match(message, /^\S[^\n]*: [^\n]*[^\s.]$/, "one sentence that says what to do")
    return reason as Reason
  })
