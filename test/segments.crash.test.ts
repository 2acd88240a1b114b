/**
 * The files of the log on a disk that loses power: at every operation, whatever the crash leaves is a log that goes
 * on at least to what was acknowledged.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { leftovers, Segments } from "../src/actors/files/Segments.ts"
import { atOnce, Disk } from "../src/disk/Disk.ts"
import type { DiskFile } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import type { Cut } from "../src/log/Group.ts"
import { Scan } from "../src/log/Scan.ts"
import { decodeSegment, parseSegmentName, SEGMENT_HEADER_BYTES, segmentName } from "../src/log/Segment.ts"
import type { SealedGroup, Tail } from "../src/log/Tail.ts"
import { appendPut, appendTransaction, makeTail, randomTransaction, start, storeId } from "./support/log.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import { watched } from "./support/watchedFile.ts"

const directory = "/log"
const segmentBytes = 1024

/** The log as it is written, and what a crash may not take. */
class Log {
  readonly tail: Tail = makeTail({ segmentBytes })
  readonly segments: Segments
  /** Sealed groups, as they must be found. */
  readonly groups: Array<{ readonly lsn: number; readonly bytes: Buffer }> = []
  /** Everything below was acknowledged. */
  acknowledged = start.lsn
  /** Cuts of the two retained checkpoints. */
  newest: Cut = start
  older: Cut = start
  /** Commits that took one write. */
  ones = 0
  private readonly chance: Random

  constructor(disk: Disk["Service"], chance: Random) {
    this.chance = chance
    this.segments = new Segments({ disk, directory, storeId, segmentBytes })
  }

  append(): void {
    if (this.chance.bool(0.7)) appendPut(this.tail, this.chance.int(300))
    else appendTransaction(this.tail, randomTransaction(this.chance, 3_000))
    this.segments.announce(this.tail.segment)
  }

  private take(): ReadonlyArray<SealedGroup> {
    this.tail.seal()
    const groups: Array<SealedGroup> = []
    for (let group = this.tail.shift(); group !== undefined; group = this.tail.shift()) groups.push(group)
    for (const { bytes, lsn } of groups) this.groups.push({ lsn, bytes: Buffer.from(bytes) })
    return groups
  }

  readonly flush = Effect.suspend(() => this.segments.write(this.take()))

  /** By one write where that can be, in whichever thread. */
  readonly commit = Effect.gen({ self: this }, function*() {
    const { segments, tail } = this
    const groups = this.take()
    const end = tail.groupLsn
    const once = segments.oneWrite(groups)
    if (once === undefined) yield* Effect.andThen(segments.write(groups), segments.writer.sync)
    else if (this.chance.bool(0.5)) yield* segments.writer.writeOnce(once)
    else yield* atOnce(() => segments.writer.writeOnceNow(once))
    this.ones += once === undefined ? 0 : 1
    this.acknowledged = end
    this.tail.durable(end)
    this.tail.release(end)
  })

  /** A checkpoint: from here on the log below the cut before is not needed. */
  readonly checkpoint = Effect.gen({ self: this }, function*() {
    const cut = this.tail.cut()
    yield* this.commit
    this.older = this.newest
    this.newest = cut
    return yield* this.segments.truncate(this.older.lsn)
  })

  readonly step = Effect.suspend((): Effect.Effect<unknown, unknown> => {
    const kind = this.chance.int(20)
    if (kind < 8) return Effect.sync(() => this.append())
    if (kind < 11) return this.flush
    if (kind < 16) return this.commit
    if (kind < 18) return this.checkpoint
    if (kind < 19) return this.segments.prepare
    return Effect.sync(() => void this.tail.mark())
  })
}

/** Names and contents of a directory after a crash, as recovery would see them. */
const found = (image: Image): Map<string, Buffer> =>
  new Map(
    image.paths().filter((path) => path.startsWith(`${directory}/`)).map((path) => [
      path.slice(directory.length + 1),
      Buffer.from(image.read(path) ?? [])
    ])
  )

/** What is wrong with the files that a crash left; undefined where nothing is. */
const fault = (image: Image, log: Log): string | undefined => {
  const files = new Map<number, Buffer>()
  for (const [name, bytes] of found(image)) {
    const sequence = parseSegmentName(name)
    if (sequence === undefined) {
      if (!leftovers.includes(name)) return `${name} is nobody's`
      continue
    }
    const header = decodeSegment(bytes.subarray(0, SEGMENT_HEADER_BYTES), storeId, sequence)._tag
    if (header !== "Valid") return `the header of ${name} is ${header}`
    files.set(sequence, bytes)
  }
  for (const cut of [log.newest, log.older]) {
    const scan = new Scan({
      storeId,
      cut,
      durableLsn: log.acknowledged,
      firstSequence: log.older.sequence,
      files: [...files].map(([sequence, bytes]) => ({ sequence, bytes: bytes.length }))
    })
    let next = log.groups.findIndex(({ lsn }) => lsn >= cut.lsn)
    while (true) {
      const answer = scan.next()
      if (answer._tag === "Need") {
        const bytes = files.get(answer.sequence)
        if (bytes === undefined) return `segment ${answer.sequence} was asked for`
        scan.feed(bytes.subarray(answer.offset, answer.offset + answer.length))
      } else if (answer._tag === "Group") {
        const expected = log.groups[next++]
        if (expected === undefined || !answer.bytes.equals(expected.bytes)) {
          return `a strange group at ${answer.lsn}`
        }
      } else if (answer._tag === "TornTail") {
        if (answer.at.lsn < log.acknowledged) return `the log ends at ${answer.at.lsn}`
        break
      } else {
        return `${answer._tag}: ${"expected" in answer ? `${answer.expected}, not ${answer.actual}` : ""}`
      }
    }
  }
  return undefined
}

const onFaultDisk = <E>(
  body: (disk: Disk["Service"], faults: FaultDisk["Service"]) => Effect.Effect<void, E>
) =>
  Effect.gen(function*() {
    const disk = yield* Disk
    yield* disk.makeDirectory(directory)
    yield* disk.syncDirectory("/")
    yield* body(disk, yield* FaultDisk)
  }).pipe(Effect.provide(layer()))

describe("a crash", () => {
  for (let seed = 1; seed <= 12; seed++) {
    it.effect(`at any operation leaves a log that recovery accepts (seed ${seed})`, () =>
      onFaultDisk((disk, faults) =>
        Effect.gen(function*() {
          const chance = random(seed)
          const crashes = random(-seed)
          const log = new Log(disk, chance)
          // The first segment is part of making a store: until it is there, there is no log.
          yield* log.flush
          yield* log.commit
          let problem: string | undefined
          let images = 0
          const look = (what: string): void => {
            if (problem !== undefined) return
            const count = faults.variants()
            const variants = [0, 1, ...Array.from({ length: 4 }, () => crashes.int(count))]
            for (const variant of variants) {
              const image = faults.crashImage({ variant })
              images++
              const wrong = fault(image, log)
              if (wrong !== undefined) problem ??= `before ${what}, ${image.story}: ${wrong}`
            }
            const image = faults.crashImage({ seed: crashes.int(2 ** 31) })
            const wrong = fault(image, log)
            if (wrong !== undefined) problem ??= `before ${what}, ${image.story}: ${wrong}`
          }
          yield* faults.observe(({ number, operation, path }) => look(`${number} ${operation} ${path}`))
          for (let turn = 0; turn < 120; turn++) {
            yield* log.step
            if (problem !== undefined) return assert.fail(problem)
          }
          look("the end")
          assert.isUndefined(problem)
          assert.isAbove(images, 100)
          assert.isAbove(log.newest.sequence, 2, "segments were given up")
          assert.isAbove(log.ones, 2, "one write was enough")
          yield* log.segments.close
        }).pipe(Effect.scoped)
      ))
  }
})

describe("Segments", () => {
  it.effect("reads across segments what was written, and nothing that was given up", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      yield* disk.makeDirectory(directory)
      for (let seed = 1; seed <= 20; seed++) {
        const chance = random(seed)
        const log = new Log(disk, chance)
        for (let turn = 0; turn < 80; turn++) yield* log.step
        yield* log.commit
        const begin = log.segments.list[0]?.base ?? 0
        assert.isAtMost(begin, log.older.lsn)
        for (const { bytes, lsn } of log.groups) {
          const from = chance.int(bytes.length)
          const length = 1 + chance.int(bytes.length - from)
          const read = yield* log.segments.read(lsn + from, length)
          const now = log.segments.readNow(lsn + from, length)
          assert.deepStrictEqual(read, now)
          if (lsn < begin) assert.isUndefined(read)
          else {assert.isTrue(
              bytes.subarray(from, from + length).equals(read ?? Buffer.alloc(0)),
              `seed ${seed}`
            )}
        }
        const names = (yield* disk.list(directory)).filter((name) => parseSegmentName(name) !== undefined)
        assert.deepStrictEqual(names, log.segments.list.map(({ sequence }) => segmentName(sequence)))
        const sizes = yield* Effect.forEach(names, (name) =>
          Effect.gen(function*() {
            const file = yield* disk.open(`${directory}/${name}`, { mode: "readWrite" })
            const size = yield* file.size
            yield* file.close
            yield* disk.unlink(`${directory}/${name}`)
            return size
          }))
        assert.strictEqual(log.segments.fileBytes, sizes.reduce((sum, size) => sum + size, 0))
        yield* log.segments.close
      }
    }).pipe(Effect.provide(MemoryDisk.layer)))

  it.effect("knows the segment of every LSN from begin on, whatever the tail did to get there", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      yield* disk.makeDirectory(directory)
      for (let seed = 1; seed <= 30; seed++) {
        const log = new Log(disk, random(seed))
        for (let turn = 0; turn < 100; turn++) yield* log.step
        yield* log.commit
        const segments = log.segments.list
        for (const { lsn } of log.groups) {
          const holder = segments.findLast(({ base }) => base <= lsn)
          if (holder === undefined) continue
          assert.deepStrictEqual(log.segments.beginOf(lsn), { lsn: holder.base, sequence: holder.sequence })
          assert.strictEqual(log.segments.placeOf(lsn)?.offset, SEGMENT_HEADER_BYTES + lsn - holder.base)
        }
        // Where a record stands; marks and seals hold no value that somebody could ask for.
        for (let put = 0; put < 20; put++) {
          const lsn = appendPut(log.tail, 200)
          log.segments.announce(log.tail.segment)
          assert.strictEqual(log.segments.baseOf(lsn), log.tail.segment.base, `seed ${seed}`)
        }
        yield* log.segments.close
        for (const name of yield* disk.list(directory)) yield* disk.unlink(`${directory}/${name}`)
      }
    }).pipe(Effect.provide(MemoryDisk.layer)))

  it.effect("giving up a segment without records forgets no other", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      yield* disk.makeDirectory(directory)
      const log = new Log(disk, random(1))
      for (let put = 0; put < 2; put++) {
        appendPut(log.tail, 308)
        log.segments.announce(log.tail.segment)
        yield* log.commit
      }
      log.tail.mark()
      assert.strictEqual(log.tail.segment.sequence, 2, "the mark began a segment")
      const lsn = appendPut(log.tail, 2_000)
      log.segments.announce(log.tail.segment)
      assert.strictEqual(log.tail.segment.sequence, 3, "in which no record found room")
      yield* log.commit
      yield* log.checkpoint
      yield* log.checkpoint
      assert.deepStrictEqual(log.segments.list.map(({ sequence }) => sequence), [3])
      assert.strictEqual(log.segments.baseOf(lsn), log.tail.segment.base)
      yield* log.segments.close
    }).pipe(Effect.provide(MemoryDisk.layer)))

  it.effect("a file that was given up becomes the next segment; one of another size does not", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      yield* disk.makeDirectory(directory)
      const log = new Log(disk, random(1))
      const fill = Effect.gen(function*() {
        const { sequence } = log.tail.segment
        while (log.tail.segment.sequence === sequence) appendPut(log.tail, 300)
        yield* log.commit
      })
      yield* fill
      yield* fill
      const { opens } = disk.counters
      assert.strictEqual(yield* log.checkpoint, 0, "the older checkpoint needs all of it")
      assert.strictEqual(yield* log.checkpoint, 2 * (SEGMENT_HEADER_BYTES + segmentBytes))
      assert.include(yield* disk.list(directory), "log.spare")
      yield* fill
      assert.strictEqual(disk.counters.opens, opens, "no file was made")
      assert.notInclude(yield* disk.list(directory), "log.spare")
      appendPut(log.tail, 5_000)
      yield* log.commit
      assert.strictEqual(disk.counters.opens, opens + 1)
      yield* fill
      yield* log.checkpoint
      yield* log.checkpoint
      const spare = yield* disk.open(`${directory}/log.spare`, { mode: "readWrite" })
      assert.strictEqual(yield* spare.size, SEGMENT_HEADER_BYTES + segmentBytes)
      yield* log.segments.close
    }).pipe(Effect.provide(MemoryDisk.layer)))

  it.effect("a commit in a segment that is there costs one write and one sync, whatever was prepared", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      yield* disk.makeDirectory(directory)
      const log = new Log(disk, random(1))
      appendPut(log.tail, 8)
      yield* log.commit
      const before = { ...disk.counters }
      appendPut(log.tail, 8)
      yield* log.commit
      assert.strictEqual(disk.counters.writes - before.writes, 1)
      assert.strictEqual(disk.counters.syncs - before.syncs, 1)
      assert.strictEqual(disk.counters.directorySyncs, before.directorySyncs)
      yield* log.segments.prepare
      yield* log.segments.prepare
      const prepared = { ...disk.counters }
      assert.strictEqual(prepared.opens - before.opens, 1, "one spare is enough")
      const { sequence } = log.tail.segment
      while (log.tail.segment.sequence === sequence) appendPut(log.tail, 300)
      yield* log.commit
      assert.strictEqual(disk.counters.opens, prepared.opens)
      assert.strictEqual(disk.counters.directorySyncs - prepared.directorySyncs, 1)
      yield* log.segments.close
    }).pipe(Effect.provide(MemoryDisk.layer)))

  it.effect("an error of the disk is the error of the write or the sync, and acknowledges nothing", () =>
    Effect.gen(function*() {
      for (const operation of ["write", "sync", "allocate", "rename", "syncDirectory", "open"] as const) {
        yield* onFaultDisk((disk, faults) =>
          Effect.gen(function*() {
            const log = new Log(disk, random(1))
            appendPut(log.tail, 8)
            yield* log.commit
            const { acknowledged } = log
            const { sequence } = log.tail.segment
            while (log.tail.segment.sequence < sequence + 1) appendPut(log.tail, 300)
            yield* faults.fail({ operation, outcome: { _tag: "Refused", code: "EIO" } })
            const error = yield* Effect.flip(log.commit)
            assert.strictEqual(error.reason._tag, "DiskFailed", operation)
            assert.strictEqual(log.acknowledged, acknowledged)
            assert.isUndefined(fault(faults.crashImage({ keep: "everything" }), log), operation)
            assert.isUndefined(fault(faults.crashImage({ keep: "nothing" }), log), operation)
            yield* log.segments.close
          })
        )
      }
    }))

  it.effect("closes every file it took over", () =>
    Effect.gen(function*() {
      const plain = yield* Disk
      const open = new Set<DiskFile>()
      const disk: Disk["Service"] = {
        ...plain,
        open: (path, options) =>
          Effect.map(plain.open(path, options), (file) => {
            const own: DiskFile = watched(file, {
              close: Effect.andThen(Effect.sync(() => open.delete(own)), file.close)
            })
            open.add(own)
            return own
          })
      }
      yield* disk.makeDirectory(directory)
      for (let seed = 1; seed <= 10; seed++) {
        const log = new Log(disk, random(seed))
        for (let turn = 0; turn < 100; turn++) yield* log.step
        assert.isAbove(open.size, 0)
        yield* log.segments.close
        assert.strictEqual(open.size, 0, `seed ${seed}`)
        for (const name of yield* disk.list(directory)) yield* disk.unlink(`${directory}/${name}`)
      }
    }).pipe(Effect.provide(MemoryDisk.layer)))
})
