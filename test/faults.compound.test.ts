/**
 * Faults on top of faults: a store on a disk that refuses something crashes, what is left is opened on a disk that
 * refuses something else or is full, that crashes too, and at last it is opened on a sane one. Nothing that was
 * acknowledged as synced is lost on the way, and nothing that recovery has shown.
 *
 * `HEARTWOOD_SEED` draws other faults, `npm run test:faults` ten times as many, and `HEARTWOOD_FIGURES=1` prints what
 * was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Fault } from "../src/disk/FaultDisk.ts"
import type { Kind } from "./support/faultKinds.ts"
import { codeOf, faultAt, kinds } from "./support/faultKinds.ts"
import type { Crashed, Struck } from "./support/faultRun.ts"
import { recoverWith, runWith } from "./support/faultRun.ts"
import { figure } from "./support/figures.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"

const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const lives = process.env["HEARTWOOD_FAULTS"] === "all" ? 600 : 60
/** Crashes of each life that are recovered from. */
const crashesPerLife = 25
/** Operations of a recovery among which one is struck. */
const recoveryOperations = 60

const figures = { lives: 0, recoveries: 0, refused: 0, full: 0, duringCheckpoints: 0, cpuSeconds: 0 }

const codes = new Set(kinds.map(codeOf))

/** A fault somewhere in a recovery; more of them once than for ever, as those seldom get far. */
const inRecovery = (chance: Random): Fault => {
  const kind = chance.pick(kinds)
  const operation = kind === "short write" ? "write" : kind.startsWith("sync") ? "sync" : undefined
  const operations = Array.from({ length: recoveryOperations }, (_, index): Struck => ({
    number: index + 1,
    operation: operation ?? "write",
    path: "",
    phase: "opening"
  }))
  const at = 1 + chance.int(operation === undefined ? recoveryOperations : 8)
  return faultAt(operations, at, kind, chance.bool(0.7) ? "once" : "for ever") as Fault
}

/** In every other life the disk is full from the middle of a checkpoint on; in the others anything may happen. */
const inLife = (chance: Random, operations: ReadonlyArray<Struck>, number: number): ReadonlyArray<Fault> => {
  const checkpoints = operations.filter(({ operation, path, phase }) =>
    phase === "serving" && ((path.endsWith("/pages") && operation !== "read") || path.endsWith("/super"))
  )
  if (number % 2 === 0) {
    figures.duringCheckpoints++
    const kind: Kind = chance.bool(0.5) ? "ENOSPC" : "short write"
    const at = chance.pick(checkpoints.filter(({ operation }) => operation === "write")).number
    return [faultAt(operations, at, kind, "for ever") as Fault]
  }
  return Array.from({ length: 1 + chance.int(2) }, () => {
    const at = 1 + chance.int(operations.length)
    return faultAt(operations, at, chance.pick(kinds), "once")
  }).filter((fault) => fault !== undefined)
}

describe("faults on top of faults", () => {
  it("lose nothing", () => {
    const started = process.cpuUsage()
    const { operations } = runWith([], { by: "close", heals: false, together: 1, seed })
    for (let number = 0; number < lives; number++) {
      const chance = random(seed * 1_000_003 + number)
      const crashed: Array<Crashed> = []
      const lifeFaults = inLife(chance, operations, number)
      const at = (): boolean => chance.int(operations.length) < crashesPerLife
      const leaving = { by: "cut", heals: chance.bool(0.5), together: 1, seed: chance.int(2 ** 31) } as const
      runWith(lifeFaults, leaving, { at, crashed })
      figures.lives++
      for (const each of crashed) {
        const isFull = chance.bool(0.2)
        const recoveryFaults = isFull ? [] : [inRecovery(chance)]
        const recoverySeed = chance.int(2 ** 31)
        try {
          const error = recoverWith(each, recoveryFaults, { seed: recoverySeed, isFull })
          figures.recoveries++
          if (isFull) figures.full++
          if (error === undefined) continue
          figures.refused++
          assert.isTrue(error.reason._tag === "DiskFailed" && codes.has(error.reason.code), error.message)
        } catch (error) {
          const faults = JSON.stringify([...lifeFaults, ...recoveryFaults, { isFull }])
          const message = error instanceof Error ? error.message : error
          throw new Error(`HEARTWOOD_SEED=${seed}, life ${number}, ${faults}: ${message}`)
        }
      }
    }
    figures.cpuSeconds = process.cpuUsage(started).user / 1e6
    figure("C4 faults during recoveries", figures)
    assert.isAbove(figures.recoveries, 12 * lives)
    assert.isAbove(figures.refused, figures.recoveries / 10)
    assert.isAbove(figures.full, figures.recoveries / 10)
  }, 3_600_000)
})
