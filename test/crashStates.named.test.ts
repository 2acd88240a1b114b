/**
 * Crash states by name: moments that a workload meets by chance only, and what a disk must have before it is relied on.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Fault, FaultDisk, Image } from "../src/disk/FaultDisk.ts"
import { layer } from "../src/disk/FaultDisk.ts"
import { parseSegmentName } from "../src/log/Segment.ts"
import { decodeSuperblock, SUPERBLOCK_BYTES } from "../src/log/Superblock.ts"
import * as Raw from "../src/Raw.ts"
import { verifyDisk } from "../src/Verify.ts"
import { CrashCheck, openImage, stateOf } from "./support/crashCheck.ts"
import type { Figures } from "./support/crashCheck.ts"
import type { Chapter } from "./support/crashHistory.ts"
import { CrashLoop } from "./support/crashLoop.ts"
import type { Ran } from "./support/crashRun.ts"
import { runWork } from "./support/crashRun.ts"
import { checkpoints, commits, eviction, times, truncation } from "./support/crashWork.ts"
import type { Work } from "./support/crashWork.ts"
import { figure } from "./support/figures.ts"
import { directory, keyspaceOf } from "./support/storeDoor.ts"
import { rowsOf } from "./support/storeModel.ts"

const seeds = [1, 2, 3, 4]
/** Of the operations; all of them are the matter of the workloads. */
const half = 0.5
const superblocks = `${directory}/super`
const pages = `${directory}/pages`

/** Checks all crash states of a run. */
const checked = ({ options, seed, shots }: Ran): Figures => {
  const check = new CrashCheck(options, { verify: 10, confirm: 100, nest: 1_000, deepen: 1_000 }, seed)
  check.all(shots.taken.values())
  assert.isAbove(check.figures.distinct, 50)
  return check.figures
}

describe("a crash", () => {
  it("with many loads in flight when a checkpoint starts", () => {
    let most = 0
    const work: Work = {
      ...eviction,
      body: (life) =>
        times(2, () =>
          Effect.gen(function*() {
            const reads = yield* Effect.forEach(
              Array.from({ length: 12 }, () => life.reads(1)),
              (read) => Effect.forkChild(read, { startImmediately: true })
            )
            most = Math.max(most, reads.filter((fiber) => fiber.pollUnsafe() === undefined).length)
            yield* life.beside([life.checkpoint, life.burst(3)])
            for (const fiber of reads) yield* Fiber.join(fiber)
          }))
    }
    checked(runWork(work, 1, { rate: half }))
    assert.isAbove(most, 6, "reads that waited for pages")
  }, 300_000)

  it(
    "takes what was only buffered from the disk in some state, and never by the death of the process",
    () => {
      let unbuffered = 0
      for (const seed of seeds) {
        const ran = runWork(commits, seed)
        assert.isAbove(ran.shots.figures.kills, 50)
        unbuffered += checked(ran).unbuffered
      }
      assert.isAbove(unbuffered, 10)
    },
    300_000
  )
})

interface Relied {
  /** Superblocks that were written, segments given up, synced commits acknowledged. */
  superblocks: number
  segments: number
  commits: number
}

const found = (image: Image, life: number, { options }: Pick<Ran, "options">) =>
  stateOf(openImage(image, options, life))

describe("each path is synced before anything relies on it", () => {
  /** What a power cut would leave of everything but the superblock whose sync begins now, which gets there. */
  const withSuperblock = (faults: FaultDisk["Service"]): Image =>
    faults.crashImage({ keep: "nothing" })
      .replace(superblocks, faults.crashImage({ keep: "everything" }).read(superblocks))

  /** The first segment of the log that the newest durable checkpoint needs. */
  const beginOf = (faults: FaultDisk["Service"]): number => {
    const bytes = Buffer.from(faults.crashImage({ keep: "nothing" }).read(superblocks) ?? [])
    const valid = ([0, 1] as const).flatMap((slot) => {
      const decoded = decodeSuperblock(
        bytes.subarray(slot * SUPERBLOCK_BYTES, (slot + 1) * SUPERBLOCK_BYTES),
        slot
      )
      return decoded._tag === "Valid" ? [decoded.superblock] : []
    })
    return valid.sort((a, b) => b.version - a.version)[0]?.begin.sequence ?? 0
  }

  const relied = (work: Work, seed: number, counts: Relied): void => {
    let disk: FaultDisk["Service"] | undefined
    const sealed: Array<Image> = []
    const acknowledged: Array<{ readonly image: Image; readonly chapter: Chapter; readonly index: number }> =
      []
    const ran = runWork(work, seed, {
      before: (faults, { chapter }) =>
        Effect.sync(() => {
          disk = faults
          const plain = chapter.acknowledge.bind(chapter)
          chapter.acknowledge = (index, lsn, durability) => {
            plain(index, lsn, durability)
            if (durability !== "synced") return
            acknowledged.push({ image: faults.crashImage({ keep: "nothing" }), chapter, index })
          }
        }),
      observe: ({ operation, path }) => {
        if (disk === undefined) return
        if (operation === "sync" && path === superblocks) sealed.push(withSuperblock(disk))
        const sequence = parseSegmentName(path.slice(directory.length + 1))
        if (sequence === undefined || (operation !== "unlink" && operation !== "rename")) return
        counts.segments++
        assert.isBelow(sequence, beginOf(disk), `${path} is given up for a superblock that is not durable`)
      }
    })
    for (const image of sealed) {
      counts.superblocks++
      const looked = Effect.provide(verifyDisk({ path: directory }), layer({ image }))
      const exit = new CrashLoop().run(looked, 1)
      if (exit?._tag !== "Success") assert.fail(`verifying failed: ${exit?.cause}`)
      assert.deepStrictEqual(exit.value.findings, [])
      assert.strictEqual(exit.value.checkpoints.length, 2)
      found(image, 1, ran)
    }
    for (const { chapter, image, index } of acknowledged) {
      counts.commits++
      const state = found(image, 1, ran)
      assert.isAtLeast(chapter.indexOf(state) ?? -1, index)
    }
  }

  it("log, page file, superblock and directory", () => {
    const counts: Relied = { superblocks: 0, segments: 0, commits: 0 }
    for (const seed of seeds) {
      for (const work of [commits, checkpoints, eviction, truncation]) relied(work, seed, counts)
      relied(commits, seed + 100, counts)
    }
    figure("C1 moments of reliance", counts)
    assert.isAbove(counts.superblocks, 20)
    assert.isAbove(counts.segments, 10)
    assert.isAbove(counts.commits, 50)
  }, 300_000)
})

describe("after a failure of the disk, a crash", () => {
  /** Checkpoints that may fail, with commits between them; those that start by themselves are counted, too. */
  const trying = (
    told: (counters: { readonly checkpoints: number; readonly failures: number }) => void
  ): Work => ({
    ...checkpoints,
    body: (life) => {
      const round = Effect.suspend(() => life.beside([Effect.exit(life.checkpoint), life.burst(3)]))
      const { counters } = life.store.machine.parts.checkpoint
      const before = counters.checkpoints
      return Effect.map(times(3, () => round), () => {
        const { checkpoints, failures } = counters
        // The one that failed may have begun by itself, before the first of these.
        told({ checkpoints: checkpoints - before, failures })
      })
    }
  })

  const survives = (seed: number, fault: Fault): void => {
    let counted = { checkpoints: 0, failures: 0 }
    const work = trying((counters) => {
      counted = counters
    })
    checked(runWork(work, seed, { rate: half, before: (faults) => faults.fail(fault) }))
    assert.isAbove(counted.failures, 0)
    assert.isAbove(counted.checkpoints, 0, "a later checkpoint succeeded")
  }

  for (const kept of ["dropped", "kept"] as const) {
    it(`of a page-file sync that failed once, its pages ${kept}`, () => {
      survives(1, { operation: "sync", path: pages, outcome: { _tag: "SyncFailed", pages: kept } })
    }, 300_000)
  }

  it("of a superblock whose write failed but reached the disk", () => {
    const outcome = { _tag: "Refused", code: "EIO", done: "everything" } as const
    survives(2, { operation: "write", path: superblocks, outcome })
  }, 300_000)

  it("of a superblock of which a part reached the disk", () => {
    survives(3, {
      operation: "write",
      path: superblocks,
      outcome: { _tag: "Short", bytes: 512, code: "EIO" }
    })
  }, 300_000)

  it("of a superblock whose sync failed", () => {
    for (const kept of ["dropped", "kept"] as const) {
      survives(4, { operation: "sync", path: superblocks, outcome: { _tag: "SyncFailed", pages: kept } })
    }
  }, 300_000)
})

describe("groups that were lost between two syncs while later ones survived", () => {
  it("end the log where the first is missing, and never come back", () => {
    const work: Work = {
      ...commits,
      options: (chance) => {
        const { limits, ...rest } = commits.options(chance)
        return { ...rest, limits: { ...limits, undurableBytes: 16_384 } }
      },
      body: (life) =>
        times(3, () =>
          Effect.andThen(
            times(5, () => life.commit(life.steps(2), "buffered")),
            life.commit(life.steps(1), "synced")
          ))
    }
    let holes = 0
    for (const seed of [1, 2]) {
      const ran = runWork(work, seed, { rate: half })
      checked(ran)
      for (const { bounds: [bounds], first, image } of ran.shots.taken.values()) {
        if (bounds === undefined || !image.story.startsWith("all but change") || !("variant" in first.end)) {
          continue
        }
        const before = found(image, 1, ran)
        const { chapter, until } = bounds
        if ((chapter.indexOf(before) ?? 0) >= until - 1) continue
        holes++
        goesOn(image, ran)
      }
    }
    assert.isAbove(holes, 10)
  }, 300_000)

  /** Commits after such a crash, crashes again, and finds that commit and nothing else that is new. */
  const goesOn = (image: Image, ran: Ran): void => {
    const opened = openImage(image, ran.options, 2)
    const before = stateOf(opened)
    const key = Uint8Array.from(Buffer.from("~new"))
    const lsn = Raw.make(opened.machine, keyspaceOf("one")).putUnsafe(key, key)
    opened.loop.idle()
    while (opened.machine.parts.tail.durableLsn <= lsn && opened.loop.pass());
    assert.isAbove(opened.machine.parts.tail.durableLsn, lsn)
    for (const keep of ["nothing", "everything"] as const) {
      const after = found(opened.faults.crashImage({ keep }), 3, ran)
      const expected = [...rowsOf(before, "one"), { key: "~new", value: "~new", lsn }]
        .toSorted((a, b) => a.key < b.key ? -1 : 1)
      assert.deepStrictEqual(rowsOf(after, "one"), expected)
      assert.deepStrictEqual(rowsOf(after, "two"), rowsOf(before, "two"))
    }
  }
})
