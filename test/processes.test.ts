/**
 * A process whose system calls fail, fall short or are its last: it says so with a typed error or is killed, never
 * hangs, and what it acknowledged is there afterwards. Injected below Node, by a library that is compiled here.
 *
 * `HEARTWOOD_SEED=n` is another sample, `HEARTWOOD_FIGURES=1` prints what was tried, `npm run test:processes` takes all.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { compile } from "./processes/Board.ts"
import type { Point } from "./processes/Points.ts"
import { kinds, sample } from "./processes/Points.ts"
import { Sweep } from "./processes/Sweep.ts"
import { bundle } from "./support/bundle.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"

const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const points = 150
const perTest = 30

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-processes-"))
const compiled = compile(directory)
const lacking = "lacking" in compiled ? ` (skipped: ${compiled.lacking})` : ""

let isDone = lacking !== ""
// Kept where something was found.
afterAll(() => isDone && fs.rmSync(directory, { recursive: true }))

describe.skipIf(lacking !== "")(`a process whose calls fail${lacking}`, () => {
  let sweep: Sweep
  let all: ReadonlyArray<Point> = []
  let chosen: ReadonlyArray<Point> = []

  beforeAll(async () => {
    const worker = await bundle(path.join(import.meta.dirname, "processes", "worker.ts"), directory)
    sweep = new Sweep({ directory, worker, library: "library" in compiled ? compiled.library : "" })
    all = await sweep.points()
    chosen = sample(all, points, random(seed))
  })

  for (let from = 0; from < points; from += perTest) {
    it(`points from ${from} (HEARTWOOD_SEED=${seed})`, async () => {
      await sweep.run(chosen.slice(from, from + perTest))
    }, 300_000)
  }

  it("is struck at every kind of call", () => {
    const { figures } = sweep
    figure("R5 faults of system calls", { ...figures, of: all.length })
    assert.strictEqual(figures.points, points)
    assert.isAtLeast(figures.killed, points / kinds.length)
    assert.isAtLeast(figures.failed, points / 4)
    assert.isAtMost(figures.missed, points / 10)
  })

  it("whose log sync fails acknowledges nothing from then on, and never syncs that file again", async () => {
    const strikes = [1, 4, 9, 16].map((at): Point => ({
      kind: "a sync that drops its pages",
      begins: "killed",
      calls: ["fdatasync", "dsync"],
      match: "/log-",
      at,
      times: 1,
      action: "drop"
    }))
    for (const { again, errors, late, struck } of await sweep.run(strikes)) {
      assert.strictEqual(struck, 1)
      assert.include(errors, "DiskFailed EIO")
      assert.deepStrictEqual({ again, late }, { again: 0, late: 0 })
    }
  })

  it("finds what is lost below a sync that lies", async () => {
    const lie: Point = {
      kind: "a lie",
      begins: "new",
      calls: ["fdatasync", "dsync"],
      at: 1,
      times: 0,
      action: "lie"
    }
    const found = await sweep.run([lie]).then(() => undefined, (error: unknown) => error)
    assert.match(`${found}`, /was acknowledged|verify finds/)
    isDone = sweep.figures.points > points
  })
})
