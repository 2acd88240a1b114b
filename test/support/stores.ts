/**
 * One suite, every place: what a store promises is tested in memory and in a real directory.
 */
import { describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Disk } from "../../src/disk/Disk.ts"
import * as MemoryDisk from "../../src/disk/MemoryDisk.ts"
import * as NodeDisk from "../../src/disk/NodeDisk.ts"
import * as Store from "../../src/Store.ts"
import type { Reason, StoreError } from "../../src/StoreError.ts"

/** Everything but where. */
export type Options = Omit<Store.Options, "path">

/** Opens the store of a test; as often as it wants, one after another. */
export type Open = (options?: Options) => Layer.Layer<Store.Store | Disk, StoreError>

interface Place {
  readonly name: string
  /** A place that is the test's alone, until its scope closes. */
  readonly take: Effect.Effect<Open, never, Scope.Scope>
}

/** What a test's store needs to be small: no large files, no large arenas. */
export const small: Options = { memory: "4 MiB", segmentSize: "256 KiB" }

/** A directory of this machine that is gone when the scope closes. */
export const directory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-"))),
  (name) => Effect.sync(() => fs.rmSync(name, { recursive: true, force: true }))
)

/** A disk that outlives the stores on it. */
const built = (layer: Layer.Layer<Disk>): Effect.Effect<Disk["Service"], never, Scope.Scope> =>
  Effect.map(Layer.build(layer), (services) => Context.get(services, Disk))

export const memory: Effect.Effect<Disk["Service"], never, Scope.Scope> = built(MemoryDisk.layer)

/** The store at a path of a disk. */
export const openOn = (disk: Disk["Service"], at: string): Open => (options) =>
  Layer.provideMerge(Store.layerDisk({ path: at, ...small, ...options }), Layer.succeed(Disk, disk))

/** `Store.layerMemory` is this with a disk of its own. */
const inMemory: Place = {
  name: "in memory",
  take: Effect.map(
    memory,
    (disk) => (options) => openOn(disk, "/store")({ durability: "memory", ...options })
  )
}

const onDisk: Place = {
  name: "in a directory",
  take: Effect.gen(function*() {
    return openOn(yield* built(NodeDisk.layer), path.join(yield* directory, "store"))
  })
}

export interface Test {
  /** A body with one store open. */
  <E>(
    title: string,
    body: () => Effect.Effect<void, E, Store.Store | Disk | Scope.Scope>,
    options?: Options
  ): void
  /** A body that opens the store itself. */
  readonly opening: <E>(title: string, body: (open: Open) => Effect.Effect<void, E, Scope.Scope>) => void
}

/** Defines the tests of a suite once for each place. */
export const suite = (title: string, define: (test: Test) => void): void => {
  for (const { name, take } of [inMemory, onDisk]) {
    const opening: Test["opening"] = (testTitle, body) =>
      it.live(testTitle, () => Effect.scoped(Effect.flatMap(take, body)))
    const test: Test = Object.assign(
      (
        testTitle: string,
        body: () => Effect.Effect<void, unknown, Store.Store | Disk | Scope.Scope>,
        options?: Options
      ) => opening(testTitle, (open) => Effect.provide(Effect.scoped(body()), open(options))),
      { opening }
    )
    describe(`${title}, ${name}`, () => define(test))
  }
}

/** The reason that an effect fails for; `"done"` where it does not fail, and a defect where it dies. */
export const reasonOf = <A, E, R>(
  effect: Effect.Effect<A, E | StoreError, R>
): Effect.Effect<Reason["_tag"] | "done", never, R> =>
  Effect.map(Effect.exit(effect), (exit) => Exit.isSuccess(exit) ? "done" : refusalIn(exit)._tag)

/** The reason that an effect fails for, which it must. */
export const refusal = <A, E, R>(
  effect: Effect.Effect<A, E | StoreError, R>
): Effect.Effect<Reason, never, R> =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) throw new Error("it did not fail")
    return refusalIn(exit)
  })

const refusalIn = (exit: Exit.Failure<unknown, unknown>): Reason => {
  const error = Exit.findErrorOption(exit)
  if (error._tag === "Some" && isStoreError(error.value)) return error.value.reason
  throw new Error(`not a StoreError: ${String(exit.cause)}`)
}

const isStoreError = (error: unknown): error is StoreError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "StoreError"

/** A raw write, as often as it is refused because the log is not idle. */
export const admitted = (commit: () => number): Effect.Effect<number> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(commit())
    } catch (error) {
      if (!isStoreError(error) || error.reason._tag !== "Overloaded") throw error
      return Effect.andThen(Effect.yieldNow, admitted(commit))
    }
  })

/** Integers from 0 to `count - 1`. */
export const upTo = (count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, index) => index)
