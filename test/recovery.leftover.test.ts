/**
 * What stands behind the end of the log never comes back.
 *
 * The header of a group that was torn across two sectors lacks its last bytes, and that of the group which is written over
 * it may have the same: with those alone the old one would be whole again. A seal would name a segment that is gone, a
 * mark would bring back commits that an opening had not found. Both found by the crash states of recoveries
 * (`crashStates.test.ts`).
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Disk } from "../src/disk/Disk.ts"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import { GROUP_HEADER_BYTES as headerBytes, GroupHeader, GroupKind } from "../src/log/Group.ts"
import { writeU53 } from "../src/log/Lsn.ts"
import { parseSegmentName, segmentName } from "../src/log/Segment.ts"
import * as Broken from "./support/broken.ts"
import { groupsOf, rechain } from "./support/forge.ts"

const { directory } = Broken

const lastOf = (image: Image): number =>
  Math.max(
    ...image.paths().flatMap((path) => parseSegmentName(path.slice(directory.length + 1)) ?? [])
  )

const pathOf = (sequence: number): string => `${directory}/${segmentName(sequence)}`

const sectorBytes = 512

/**
 * Where in a segment a mark stands of which only the last 8 bytes are in another sector, with a group behind it: that
 * one was on its way before the mark was known to be durable, and nothing followed it.
 */
const straddling = (segment: Buffer): number | undefined => {
  const header = new GroupHeader()
  const starts = groupsOf(segment)
  const index = starts.findIndex((at) => {
    header.read(segment, at)
    return header.kind === GroupKind.mark && (at + headerBytes) % sectorBytes === 8
  })
  const [mark, behind, further = segment.length] = starts.slice(index)
  if (index < 0 || mark === undefined || behind === undefined) return undefined
  header.read(segment, mark)
  writeU53(segment, behind + 24, header.lsn)
  rechain(segment.fill(0, further), behind)
  return mark
}

/** A store that was killed after two commits with such a mark between them, and what a power cut may have left of it. */
const marked = Effect.gen(function*() {
  for (let bytes = 1; bytes <= sectorBytes; bytes += 8) {
    const body = Effect.gen(function*() {
      yield* Broken.put("a".repeat(bytes))
      yield* Effect.sleep("5 millis")
      yield* Broken.put("b")
    })
    const killed = yield* Broken.onDisk(
      undefined,
      Effect.flatMap(
        FaultDisk,
        (faults) => Broken.opened(Effect.andThen(body, Effect.sync(() => faults.killImage())))
      )
    )
    const path = pathOf(lastOf(killed))
    const file = Buffer.from(killed.read(path) ?? [])
    const at = straddling(file)
    if (at === undefined) continue
    const whole = killed.replace(path, file)
    const torn = killed.replace(path, Buffer.from(file).fill(0, at + headerBytes - 8, at + headerBytes))
    return { whole, torn, path, row: `${"a".repeat(bytes)}=${"A".repeat(bytes)}` }
  }
  throw new Error("no mark stands across two sectors")
})

describe("what is behind the end of the log", () => {
  it.live("does not come back, wherever a recovery is cut off", () =>
    Effect.gen(function*() {
      const { row, torn, whole } = yield* marked
      assert.deepStrictEqual(yield* Broken.onDisk(whole, Broken.outcome()), [row, "b=B"])
      const images = new Map<string, Image>()
      const opening = Effect.gen(function*() {
        const faults = yield* FaultDisk
        yield* faults.observe(() => {
          for (let variant = 0; variant < faults.variants(); variant++) {
            const image = faults.crashImage({ variant })
            images.set(image.digest(), image)
          }
        })
        return yield* Broken.opened(Broken.readAll)
      })
      assert.deepStrictEqual(yield* Broken.onDisk(torn, Effect.scoped(opening)), [row])
      for (const image of images.values()) {
        assert.deepStrictEqual(yield* Broken.onDisk(image, Broken.outcome()), [row])
      }
    }))

  it.live("goes when the end is written over, durably", () =>
    Effect.gen(function*() {
      const { path, torn } = yield* marked
      const behind = pathOf(lastOf(torn) + 1)
      const operations: Array<string> = []
      const opening = Effect.gen(function*() {
        const faults = yield* FaultDisk
        const disk = yield* Disk
        const spare = yield* disk.open(behind, { mode: "create" })
        yield* spare.write([new Uint8Array(8192)], 0)
        yield* spare.sync
        yield* spare.close
        yield* disk.syncDirectory(directory)
        yield* faults.observe((observed) => {
          if (observed.path === path || observed.path === behind) {
            operations.push(`${observed.operation} ${observed.path === path ? "end" : "behind"}`)
          }
        })
        return yield* Broken.opened(Broken.readAll)
      })
      const rows = yield* Broken.onDisk(torn, Effect.scoped(opening))
      assert.strictEqual(rows.length, 1)
      const removed = operations.indexOf("unlink behind")
      assert.isAbove(removed, 0)
      assert.deepStrictEqual(operations.slice(removed - 2, removed), ["write end", "sync end"])
    }))
})
