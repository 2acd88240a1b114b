/**
 * Strikes the calls of processes, one after another: `npm run test:processes`.
 *
 * `--points 1000` or `all`, `--seed 1`, `--directory <path>` (a new one below the system's temporary directory by
 * default, which is kept where something is found).
 */
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { parseArgs } from "node:util"
import { bundle } from "../support/bundle.ts"
import { random } from "../support/random.ts"
import { compile } from "./Board.ts"
import { sample } from "./Points.ts"
import { Sweep } from "./Sweep.ts"

const { values } = parseArgs({
  options: {
    points: { type: "string", default: "1000" },
    seed: { type: "string", default: `${process.pid}` },
    directory: { type: "string" }
  }
})
/** Points between two lines of progress. */
const perLine = 200

const directory = values.directory ?? fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-processes-"))
fs.mkdirSync(directory, { recursive: true })
const compiled = compile(directory)
if ("lacking" in compiled) {
  console.log(`0 points: skipped, ${compiled.lacking}`)
  process.exit(0)
}
const worker = await bundle(path.join(import.meta.dirname, "worker.ts"), directory)
const sweep = new Sweep({ directory, worker, library: compiled.library })
const began = performance.now()
try {
  const all = await sweep.points()
  const chosen = values.points === "all"
    ? all
    : sample(all, Number(values.points), random(Number(values.seed)))
  console.log(`${chosen.length} points of ${all.length}, seed ${values.seed}, in ${directory}`)
  for (let from = 0; from < chosen.length; from += perLine) {
    await sweep.run(chosen.slice(from, from + perLine))
    if (from + perLine < chosen.length) console.log(`${sweep.figures.points} points`)
  }
} catch (error) {
  console.error(`seed ${values.seed}:`, error)
  process.exit(1)
}
const { acknowledged, failed, killed, missed, points, unharmed } = sweep.figures
console.log(
  `${points} points: ${failed} ended with typed errors, ${killed} were killed, ${unharmed} bore it, ${missed} were not `
    + `reached; ${acknowledged} acknowledged, none lost, none torn, none invented; `
    + `${((performance.now() - began) / 1000).toFixed(1)} s`
)
if (values.directory === undefined) fs.rmSync(directory, { recursive: true })
