/**
 * The long run: every suite that has no end, one command, one table: `npm run test:long`.
 *
 * `--minutes 120` in all, `--seed 1000000` (of the first commands), `--jobs 2` suites at a time, `--only kills` (those
 * whose name begins so), `--report .heartwood/long` (`.json` and `.md` are added), `--into docs/guarantees.md` (puts
 * the table there). `--from .heartwood/long.json` runs nothing and only prints and puts what an earlier run found; of
 * several, `--from a.json --from b.json`, suites of a later one take the place of those before.
 */
import { execFileSync } from "node:child_process"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { parseArgs } from "node:util"
import { into, joined, table } from "./Report.ts"
import type { Report } from "./Report.ts"
import { isThere, root, run } from "./Runner.ts"
import type { Outcome } from "./Runner.ts"
import { suites } from "./suites.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "120" },
    seed: { type: "string", default: "1000000" },
    jobs: { type: "string", default: `${Math.min(2, os.availableParallelism())}` },
    only: { type: "string", default: "" },
    report: { type: "string", default: path.join(root, ".heartwood", "long") },
    into: { type: "string" },
    from: { type: "string", multiple: true, default: [] }
  }
})

const commitOf = (): string => {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim()
  } catch {
    return "unknown"
  }
}

/** Runs all suites, some beside each other, each for its share of the time. */
const runAll = async (): Promise<Report> => {
  const minutes = Number(values.minutes)
  const jobs = Number(values.jobs)
  const seed = Number(values.seed)
  const asked = suites.filter(({ name }) => name.startsWith(values.only))
  const chosen = asked.filter(isThere)
  if (!(minutes > 0) || !(jobs >= 1) || chosen.length === 0) {
    throw new RangeError("--minutes, --jobs or --only")
  }
  const directory = path.dirname(path.resolve(values.report))
  fs.mkdirSync(directory, { recursive: true })
  const began = new Date().toISOString()
  const all = chosen.reduce((sum, { share }) => sum + share, 0)
  // The longest first, so that they end together.
  const waiting = chosen.toSorted((a, b) => b.share - a.share)
  const done: Array<Outcome> = []
  const job = async (): Promise<void> => {
    for (let suite = waiting.shift(); suite !== undefined; suite = waiting.shift()) {
      const seconds = Math.min(60 * minutes, 60 * minutes * jobs * suite.share / all)
      console.log(`${suite.name}: ${seconds.toFixed(0)} s`)
      const outcome = await run(suite, { seconds, seed, directory })
      done.push(outcome)
      const { failures, figure, kept, unit } = outcome
      console.log(`${suite.name}: ${figure} ${unit}, ${failures} failures ${kept.join(" ")}`)
    }
  }
  await Promise.all(Array.from({ length: jobs }, job))
  return {
    began,
    commit: commitOf(),
    node: process.versions.node,
    machine: `${os.cpus().length} cores of ${os.cpus()[0]?.model.trim() ?? os.arch()}`,
    minutes,
    jobs,
    seed,
    suites: chosen.flatMap(({ name }) => done.filter((outcome) => outcome.name === name)),
    absent: asked.filter((suite) => !isThere(suite)).map(({ name }) => name)
  }
}

const read = (file: string): Report => JSON.parse(fs.readFileSync(file, "utf8")) as Report
const isRun = values.from.length === 0
const report: Report = isRun ? await runAll() : values.from.map(read).reduce(joined)
console.log(`\n${table(report)}\n`)
if (isRun) {
  fs.writeFileSync(`${values.report}.json`, `${JSON.stringify(report, null, 2)}\n`)
  fs.writeFileSync(`${values.report}.md`, `${table(report)}\n`)
  console.log(`${values.report}.json, ${values.report}.md`)
}
if (values.into !== undefined) into(values.into, report)
if (report.suites.some(({ failures }) => failures > 0)) process.exitCode = 1
