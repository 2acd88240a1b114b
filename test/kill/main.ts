/**
 * Kills a process again and again, and sees that no acknowledged commit is ever lost: `npm run test:kill`.
 *
 * `--rounds 200`, `--seed 1`, `--directory <path>` (a new one below the system's temporary directory by default, which
 * is kept where something is found).
 */
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import { parseArgs } from "node:util"
import { bundle } from "../support/bundle.ts"
import { random } from "../support/random.ts"
import { Rounds } from "./Round.ts"

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "200" },
    seed: { type: "string", default: `${process.pid}` },
    directory: { type: "string" }
  }
})
const base = values.directory ?? await fs.mkdtemp(path.join(os.tmpdir(), "heartwood-kill-"))
await fs.mkdir(base, { recursive: true })
const worker = await bundle(path.join(import.meta.dirname, "worker.ts"), base)
const rounds = new Rounds({
  directory: path.join(base, "store"),
  worker,
  chance: random(Number(values.seed)),
  lifeMillis: 600
})
const began = performance.now()
console.log(`${values.rounds} rounds, seed ${values.seed}, in ${base}`)
try {
  for (let round = 1; round <= Number(values.rounds); round++) await rounds.run()
} catch (error) {
  console.error(`round ${rounds.totals.rounds} of seed ${values.seed}, in ${base}:`, error)
  process.exit(1)
}
const { acknowledged, commits, killedWhileOpening, recovered } = rounds.totals
console.log(
  `${rounds.totals.rounds} rounds (${killedWhileOpening} killed while opening): ${commits} commits, `
    + `${acknowledged} acknowledged, ${recovered} recovered beyond; none lost, none torn, none invented; `
    + `${((performance.now() - began) / 1000).toFixed(1)} s`
)
if (values.directory === undefined) await fs.rm(base, { recursive: true })
