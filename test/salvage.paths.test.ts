/**
 * What a salvage builds on, damage by damage: the log alone, the older checkpoint, leaves that no inner page leads to; and
 * what it refuses.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Disk } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Salvage from "../src/Salvage.ts"
import type { Reason, StoreError } from "../src/StoreError.ts"
import { digestOf } from "./support/broken.ts"
import { Forge, groupsOf } from "./support/forge.ts"
import type { World } from "./support/salvageWorld.ts"
import { from, salvaged, stateAt, target, world, wrong } from "./support/salvageWorld.ts"
import { rowsOf } from "./support/storeModel.ts"
import { names } from "./support/storeSize.ts"

const cached = (seed: number, commits: number) =>
  Effect.runSync(Effect.cached(world(seed, { size: "tight", buffer: "miniPages" }, commits)))

/** Dozens of segments whose first are gone, two checkpoints. */
const made = cached(31, 150)
/** Few enough commits for the log to reach back to its beginning; most of it above the newest checkpoint. */
const young = cached(18, 25)

const saving = <A, E>(image: Image, body: Effect.Effect<A, E, Disk | FaultDisk>) =>
  Effect.provide(body, layer({ image }))

/** Salvages an image, and checks what comes of it against the model. */
const saved = (known: World, image: Image) =>
  saving(
    image,
    Effect.gen(function*() {
      const report = yield* Salvage.salvageDisk({ from, to: target, store: known.options })
      assert.deepStrictEqual(wrong(report, yield* salvaged(known), stateAt(known, report.lsn)), [])
      return report
    })
  )

const lastOf = (known: World): number => (known.history.at(-1) as { lsn: number }).lsn

const refusal = (image: Image, options: Partial<Salvage.Options> = {}) =>
  saving(
    image,
    Effect.map(
      Effect.exit(Salvage.salvageDisk({ from, to: target, ...options })),
      (exit: Exit.Exit<Salvage.Report, StoreError>): Reason => {
        const error = Exit.isFailure(exit) ? Exit.findErrorOption(exit) : undefined
        if (error?._tag === "Some") return error.value.reason
        throw new Error(`it was not refused: ${exit}`)
      }
    )
  )

const refused = (image: Image, options: Partial<Salvage.Options> = {}) =>
  Effect.map(refusal(image, options), ({ _tag }) => _tag)

const zeroed = (forge: Forge, image: Image, slots: ReadonlyArray<number>): Image => {
  for (const slot of slots) forge.slot(slot).fill(0)
  return image.replace(`${from}/pages`, forge.pages)
}

describe("a salvage", () => {
  it.live("goes without superblocks and pages where the log reaches back to its beginning", () =>
    Effect.gen(function*() {
      const known = yield* young
      const bare = known.image.replace(`${from}/super`, undefined)
      for (const image of [bare, bare.replace(`${from}/pages`, undefined)]) {
        const report = yield* saved(known, image)
        assert.isTrue(report.complete)
        assert.isUndefined(report.checkpoint)
        assert.isAbove(report.lsn, lastOf(known))
        assert.isAbove(report.records, 50)
      }
    }))

  it.live("takes a catalog that is lost from the log, if that is long enough", () =>
    Effect.gen(function*() {
      const known = yield* young
      const forge = new Forge(known.image, from)
      const { catalog } = forge.older ?? forge.superblock
      const slots = [...forge.catalogSlots, ...(catalog.slot === 0 ? [] : [catalog.slot])]
      const report = yield* saved(known, zeroed(forge, known.image, slots))
      assert.isTrue(report.complete)
      assert.isAbove(report.lsn, lastOf(known))
    }))

  it.live("refuses to guess where neither a superblock nor the beginning of the log is left", () =>
    Effect.gen(function*() {
      const { image } = yield* made
      assert.strictEqual(yield* refused(image.replace(`${from}/super`, undefined)), "Corrupted")
    }))

  it.live("goes on from the older checkpoint where the newest has lost its catalog", () =>
    Effect.gen(function*() {
      const known = yield* made
      const forge = new Forge(known.image, from)
      const report = yield* saved(known, zeroed(forge, known.image, forge.catalogSlots))
      assert.strictEqual(report.checkpoint, forge.older?.version)
      assert.isTrue(report.complete)
      assert.isAbove(report.lsn, lastOf(known))
    }))

  it.live("finds the leaves of lost inner pages", () =>
    Effect.gen(function*() {
      const known = yield* made
      const forge = new Forge(known.image, from)
      const slots = forge.inner().map((id) => forge.slotOf(id))
      const report = yield* saved(known, zeroed(forge, known.image, slots))
      assert.isAbove(report.findings.length, 0)
      assert.isTrue(report.complete)
    }))

  it.live(
    "fills gaps from the older checkpoint and the log, and lists those that both have",
    () =>
      Effect.gen(function*() {
        const known = yield* made
        const whole = new Forge(known.image, from)
        let [filled, listed] = [0, 0]
        for (const id of whole.leaves().slice(0, 24)) {
          const forge = new Forge(known.image, from)
          const report = yield* saved(known, zeroed(forge, known.image, [forge.slotOf(id)]))
          assert.isAbove(report.findings.length, 0)
          assert.isAbove(report.lsn, lastOf(known))
          if (report.complete) filled++
          else listed++
          assert.isAtMost(report.keyspaces.reduce((sum, { lost }) => sum + lost.length, 0), 1)
        }
        assert.isAbove(filled, 2)
        assert.isAbove(listed, 2)
      }),
    60_000
  )

  it.live("ends where the log breaks off, and counts what is behind", () =>
    Effect.gen(function*() {
      const known = yield* young
      const { image } = known
      const { cut } = new Forge(image, from).superblock
      const path = `${from}/log-${(cut.sequence + 2).toString(16).padStart(16, "0")}`
      const segment = Buffer.from(image.read(path) ?? [])
      const at = groupsOf(segment)[0] as number
      segment[at + 70] = (segment[at + 70] as number) ^ 1
      const report = yield* saved(known, image.replace(path, segment))
      assert.isFalse(report.complete)
      assert.strictEqual(report.log.break?.path, path)
      assert.isTrue(report.log.break !== undefined && report.log.break.offset >= at)
      assert.isAbove(report.log.behind.groups, 2)
      assert.isAbove(report.lsn, cut.lsn)
    }))

  it.live("advises no other salvage where there is nothing to begin with", () =>
    Effect.gen(function*() {
      const { image } = yield* young
      const begin = image.paths().filter((path) => /super$|log-/.test(path))
      const bare = begin.reduce((left, path) => left.replace(path, undefined), image)
      const { message } = yield* refusal(bare)
      assert.notInclude(message, "heartwood salvage")
      assert.match(message, /restore a backup$/)
    }))

  it.live("writes nothing where something is, and leaves nothing where it fails", () =>
    Effect.gen(function*() {
      const { image, options } = yield* young
      assert.strictEqual(yield* refused(image, { to: from }), "InvalidOptions")
      assert.strictEqual(yield* refused(image, { from: "/nowhere" }), "NotAStore")
      yield* saving(
        image,
        Effect.gen(function*() {
          const faults = yield* FaultDisk
          const before = faults.operations()
          const outcome = { _tag: "Refused", code: "ENOSPC" } as const
          yield* faults.fail({ at: 8, times: Infinity, path: /^\/salvaged/, operation: "write", outcome })
          const exit = yield* Effect.exit(Salvage.salvageDisk({ from, to: target, store: options }))
          assert.isTrue(Exit.isFailure(exit))
          assert.isAbove(faults.operations(), before)
          const after = faults.killImage()
          const left = after.paths().filter((path) => path.startsWith(`${target}/`))
          assert.deepStrictEqual(left.filter((path) => path !== `${target}/lock`), [])
          assert.deepStrictEqual([...digestOf(after)], [...digestOf(image)])
        })
      )
    }))

  it.live("keeps keyspaces that are empty", () =>
    Effect.gen(function*() {
      const known = yield* made
      const report = yield* saved(known, known.image)
      const expected = new Forge(known.image, from).catalog.keyspaces.map(({ name }) => name)
      assert.deepStrictEqual(report.keyspaces.map(({ name }) => name).toSorted(), expected.toSorted())
      const rows = names.map((name) => rowsOf(stateAt(known, report.lsn), name).length)
      assert.strictEqual(report.records, rows.reduce((sum, count) => sum + count, 0))
    }))
})
