/**
 * What tests of `FaultDisk` share: a disk for a body, durable files, and all that a power cut may leave.
 */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Disk } from "../../src/disk/Disk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type { Image, Options } from "../../src/disk/FaultDisk.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { contentOf, opened } from "./diskSuite.ts"

export type Body = (
  disk: Disk["Service"],
  faults: FaultDisk["Service"]
) => Effect.Effect<void, StoreError, Scope.Scope>

/** Runs a body on a fresh disk. */
export const onFaultDisk = (body: Body, options: Options = {}): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    yield* body(yield* Disk, yield* FaultDisk)
  }).pipe(Effect.scoped, Effect.provide(layer(options)))

export const test = (title: string, body: Body, options: Options = {}) =>
  it.effect(title, () => onFaultDisk(body, options))

/** A file whose name and content are durable. */
export const durableFile = (disk: Disk["Service"], path: string, content: Uint8Array) =>
  Effect.gen(function*() {
    const file = yield* opened(disk, path, "create")
    yield* file.write([content], 0)
    yield* file.sync
    yield* disk.syncDirectory("/")
    return file
  })

/** The whole file at a path. */
export const read = (disk: Disk["Service"], path: string) =>
  Effect.scoped(Effect.flatMap(opened(disk, path, "readOnly"), contentOf))

export const filled = (bytes: number, value: number): Uint8Array => new Uint8Array(bytes).fill(value)

/** The images of all numbered crashes, and of as many seeds. */
export const everyImage = function*(faults: FaultDisk["Service"], seeds: number): Generator<Image> {
  for (let variant = 0; variant < faults.variants(); variant++) yield faults.crashImage({ variant })
  for (let seed = 0; seed < seeds; seed++) yield faults.crashImage({ seed })
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")
