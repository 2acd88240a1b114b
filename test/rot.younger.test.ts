/**
 * A log that is put back as it was when it was younger than the newest checkpoint: that is noticed when the store is
 * opened, wherever the checkpoint began.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Image } from "../src/disk/FaultDisk.ts"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import * as Tx from "../src/Tx.ts"
import * as Broken from "./support/broken.ts"
import { outcomeOf } from "./support/rot.ts"
import { upTo } from "./support/stores.ts"

const { directory, Words } = Broken

/** What a life leaves behind, of what the one before left. */
const lived = (image: Image | undefined, value: string, commits: number) =>
  Broken.onDisk(
    image,
    Effect.andThen(
      Broken.opened(
        Effect.forEach(upTo(commits), (n) => Words.put(`${value} ${n}`, value).pipe(Tx.transact()), {
          discard: true
        })
      ),
      Effect.map(FaultDisk, (faults) => faults.killImage())
    )
  )

const isLog = (path: string): boolean => path.includes("/log-")

/** A store with the log of another image of it. */
const withLogOf = (image: Image, other: Image): Image =>
  image.paths().filter(isLog).reduce((made, path) => made.replace(path, other.read(path)), image)

describe("a log that is put back as it was", () => {
  for (const commits of [1, 3, 12, 30]) {
    it.live(`before ${commits} commits and a checkpoint is noticed`, () =>
      Effect.gen(function*() {
        const before = yield* lived(undefined, "first", 2)
        const after = yield* lived(before, "second", commits)
        const own = yield* outcomeOf("the store", after, Broken.readAll)
        assert(own._tag === "Rows", "the store is sound")
        assert.strictEqual(own.rows.length, 2 + commits)
        const found = yield* outcomeOf("put back", withLogOf(after, before), Broken.readAll)
        assert(found._tag === "Refused", "it is not noticed")
        assert.strictEqual(found.reason._tag, "Corrupted")
        assert.match(found.reason.message, new RegExp(`${directory}/log-`))
      }))
  }
})
