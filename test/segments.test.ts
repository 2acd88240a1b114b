/**
 * The files of the log: the Wal begins segments while a checkpoint gives up old ones, and neither takes the other's
 * file.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Segments } from "../src/actors/files/Segments.ts"
import { Disk } from "../src/disk/Disk.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import type { Segment } from "../src/log/Segment.ts"
import { decodeSegment, SEGMENT_HEADER_BYTES, segmentName } from "../src/log/Segment.ts"
import { life, storeId } from "./support/log.ts"
import { random } from "./support/random.ts"
import { watched } from "./support/watchedFile.ts"

const segmentBytes = 4096

const segmentOf = (sequence: number): Segment => ({
  sequence,
  base: sequence * segmentBytes,
  capacity: segmentBytes,
  previousChecksum: 0,
  incarnation: life(1)
})

/** A disk whose operations take a while, so that others come between them. */
const slow = (disk: Disk["Service"], pause: Effect.Effect<void>): Disk["Service"] => ({
  ...disk,
  rename: (from, to) => Effect.andThen(pause, disk.rename(from, to)),
  unlink: (path) => Effect.andThen(pause, disk.unlink(path)),
  open: (path, options) =>
    Effect.map(disk.open(path, options), (file) =>
      watched(file, {
        write: (buffers, position) => Effect.andThen(pause, file.write(buffers, position)),
        sync: Effect.andThen(pause, file.sync),
        allocate: (bytes) => Effect.andThen(pause, file.allocate(bytes))
      }))
})

/** Each file of the log begins with its own header. */
const check = (disk: Disk["Service"], segments: Segments) =>
  Effect.forEach(segments.list, ({ sequence }) =>
    Effect.gen(function*() {
      const file = yield* disk.open(`/log/${segmentName(sequence)}`, { mode: "readOnly" })
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
      yield* file.read(header, 0)
      yield* file.close
      assert.strictEqual(decodeSegment(header, storeId, sequence)._tag, "Valid", `segment ${sequence}`)
    }), { discard: true })

describe("Segments", () => {
  it.effect("are not given up while they are walked", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      yield* disk.makeDirectory("/log")
      const segments = new Segments({ disk, directory: "/log", storeId, segmentBytes })
      for (let sequence = 1; sequence <= 4; sequence++) yield* segments.create(segmentOf(sequence))
      const left = segments.list.map(({ sequence }) => sequence)
      yield* segments.walking(2, () => Effect.asVoid(segments.truncate(4 * segmentBytes)))
      assert.deepStrictEqual([left, segments.list.map(({ sequence }) => sequence)], [[1, 2, 3, 4], [2, 3, 4]])
      yield* segments.truncate(4 * segmentBytes)
      assert.deepStrictEqual(segments.list.map(({ sequence }) => sequence), [4])
      yield* segments.close
    }).pipe(Effect.provide(MemoryDisk.layer)))

  for (let seed = 1; seed <= 50; seed++) {
    it.effect(`are begun while others are given up (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const plain = yield* Disk
        const pause = Effect.suspend(() => Effect.repeat(Effect.yieldNow, { times: chance.int(4) }))
        const disk = slow(plain, pause)
        yield* plain.makeDirectory("/log")
        const segments = new Segments({ disk, directory: "/log", storeId, segmentBytes })
        let next = 1
        while (next <= 4) yield* segments.create(segmentOf(next++))
        for (let round = 0; round < 20; round++) {
          const begin = (segments.list[chance.int(3)]?.base ?? 0) + chance.int(2) * segmentBytes
          const creating = Effect.andThen(pause, Effect.suspend(() => segments.create(segmentOf(next++))))
          yield* Effect.all([
            Effect.andThen(pause, segments.truncate(begin)),
            Effect.andThen(creating, creating),
            ...chance.bool(0.5) ? [segments.prepare] : []
          ], { concurrency: "unbounded" })
          yield* check(plain, segments)
        }
        yield* segments.close
      }).pipe(Effect.provide(MemoryDisk.layer)))
  }
})
