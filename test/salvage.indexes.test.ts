/**
 * Salvaging a store with secondary indexes: they come over whole, or are built again; never half.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Salvage from "../src/Salvage.ts"
import * as Store from "../src/Store.ts"
import { Forge } from "./support/forge.ts"
import { all, build, names, put, Users, write } from "./support/people.ts"
import { directory } from "./support/storeDoor.ts"
import { upTo } from "./support/stores.ts"

const options = { pageSize: "1 KiB", memory: "256 KiB", segmentSize: "16 KiB" } as const
const target = "/salvaged"

const made = Effect.scoped(Effect.gen(function*() {
  const faults = yield* FaultDisk
  const store = yield* Store.make({ ...options, path: directory })
  yield* Effect.provideService(
    Effect.forEach(
      upTo(20),
      (round) =>
        write(Effect.forEach(upTo(15), (n) => put(`user ${round * 15 + n}`, `tag ${n}`, `round ${round}`)))
    ),
    Store.Store,
    store
  )
  yield* store.checkpoint
  yield* store.checkpoint
  return faults.killImage()
})).pipe(Effect.provide(layer()))

/** Salvages an image, and runs a body in what comes of it. */
const salvaged = <A, E>(image: Image, body: Effect.Effect<A, E, Store.Store>) =>
  Effect.gen(function*() {
    const report = yield* Salvage.salvageDisk({ from: directory, to: target, store: options })
    const store = yield* Store.make({ ...options, path: target })
    return { report, value: yield* Effect.provideService(body, Store.Store, store) }
  }).pipe(Effect.scoped, Effect.provide(layer({ image })))

/** How many users there are. */
const counted = Effect.map(all(Users.keys()), (users) => users.length)

describe("indexes", () => {
  it.live("come over with everything else, and are kept from then on", () =>
    Effect.gen(function*() {
      const body = Effect.andThen(write(put("somebody", "new")), Effect.all([counted, names]))
      const { report, value: [users, found] } = yield* salvaged(yield* made, body)
      assert.isTrue(report.complete)
      assert.strictEqual(users, 301)
      assert.isAbove(found.length, 3)
    }))

  it.live("are given up where anything is lost, and can be built again", () =>
    Effect.gen(function*() {
      const image = yield* made
      const forge = new Forge(image, directory)
      const { treeId } = forge.catalog.keyspaces.find(({ name }) => name === "users") as { treeId: number }
      const leaf = forge.leaves().filter((id) => forge.words(id)[3] === treeId)[2] as number
      // In both checkpoints, and the log below them is not needed for anything else.
      forge.slot(forge.slotOf(leaf)).fill(0)
      const log = image.paths().filter((path) => path.includes("/log-"))[0] as string
      const bytes = Buffer.from(image.read(log) ?? [])
      bytes.fill(0, 5000, 5200)
      const damaged = image.replace(`${directory}/pages`, forge.pages).replace(log, bytes)
      const { report, value: [before, users, after] } = yield* salvaged(
        damaged,
        Effect.all([names, Effect.andThen(build, counted), names])
      )
      assert.isFalse(report.complete)
      assert.deepStrictEqual(before, ["users"])
      assert.isAbove(after.length, 3)
      assert.isAbove(users, 200)
      assert.isBelow(users, 300)
    }))
})
