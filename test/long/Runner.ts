/**
 * Runs a suite for as long as it has: command after command, each with another seed.
 *
 * - L1 A command that ends with another status than 0 is a failure; its output is kept.
 * - L2 A command that is not done when the suite's time and some more are over is cut off. That is no failure, and what
 *   it would have found is not known: its figure does not count.
 */
import { spawn } from "node:child_process"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import type { Suite, Work } from "./suites.ts"

export const root = path.join(import.meta.dirname, "..", "..")
const bin = path.join(root, "node_modules", ".bin")

export interface Outcome {
  readonly name: string
  readonly unit: string
  figure: number
  failures: number
  /** Commands that were cut off. */
  cut: number
  seconds: number
  readonly seeds: Array<number>
  /** Files with the output of what failed. */
  readonly kept: Array<string>
  /** The run that it is of, where that is not the one of the others. */
  readonly of?: string
}

export interface RunOptions {
  readonly seconds: number
  /** Of the first command; others follow. */
  readonly seed: number
  /** Where the output of failures is kept. */
  readonly directory: string
}

/** A command is to take about so long, that a failure is known soon, and its start costs little. */
const commandSeconds = 600
/** What a command may take beyond the suite's time. */
const graceSeconds = 60
/** After so many failures a suite has said enough. */
const mostFailures = 3
const keptBytes = 20_000

export const run = async (suite: Suite, options: RunOptions): Promise<Outcome> => {
  const { name, unit } = suite
  const outcome: Outcome = { name, unit, figure: 0, failures: 0, cut: 0, seconds: 0, seeds: [], kept: [] }
  const began = performance.now()
  const left = (): number => options.seconds - (performance.now() - began) / 1000
  let amount = Math.max(1, suite.amount(options.seconds))
  let seed = options.seed
  for (;;) {
    const spent = await command(suite, { amount, seed }, left() + graceSeconds, outcome, options)
    outcome.seeds.push(seed)
    outcome.seconds = (performance.now() - began) / 1000
    // A row of seeds is taken from one on: the next command begins behind it.
    seed += amount
    if (outcome.failures >= mostFailures || outcome.cut > 0) return outcome
    const rate = amount / spent
    if (suite.hasAmount) amount = Math.floor(rate * Math.min(0.9 * left(), commandSeconds))
    if (amount < 1 || left() < (suite.hasAmount ? 5 : spent)) return outcome
  }
}

export const isThere = ({ runs }: Suite): boolean => {
  if ("script" in runs) {
    const { scripts } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
    return scripts[runs.script] !== undefined
  }
  const found = fs.readdirSync(path.join(root, "test")).map((name) => `test/${name}`)
  return runs.tests.every((tests) => found.some((name) => name.startsWith(tests)))
}

const argsOf = (suite: Suite, work: Work): ReadonlyArray<string> =>
  "script" in suite.runs
    ? ["npm", "run", "--silent", suite.runs.script, "--", ...suite.args(work)]
    : ["vitest", "run", ...suite.runs.tests, "--maxWorkers=1", "--testTimeout=7200000", ...suite.args(work)]

/** How a command ended, and everything that it said. */
interface Ended {
  readonly status: number | "cut off"
  readonly output: string
}

/** Runs a command for so long at most, with a place of its own for temporary files. */
const ended = (
  args: ReadonlyArray<string>,
  options: { readonly environment: Record<string, string>; readonly place: string; readonly seconds: number }
): Promise<Ended> =>
  new Promise((resolve) => {
    const child = spawn(args[0] ?? "", args.slice(1), {
      cwd: root,
      // A group of its own, so that all of it ends where it is cut off.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        PATH: `${bin}${path.delimiter}${process.env["PATH"]}`,
        NO_COLOR: "1",
        TMPDIR: options.place,
        HEARTWOOD_FIGURES: "1",
        ...options.environment
      }
    })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output += data)
    const end = () => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL")
    }
    process.on("exit", end)
    let isCut = false
    const timer = setTimeout(() => {
      isCut = true
      end()
    }, 1000 * options.seconds)
    const done = (status: number) => {
      clearTimeout(timer)
      process.off("exit", end)
      resolve({ status: isCut ? "cut off" : status, output })
    }
    child.on("error", () => done(127))
    child.on("close", (code) => done(code ?? 1))
  })

/** Runs one command; answers the seconds that it took. */
const command = async (
  suite: Suite,
  work: Work,
  seconds: number,
  outcome: Outcome,
  { directory }: RunOptions
): Promise<number> => {
  const began = performance.now()
  const args = argsOf(suite, work)
  const environment = suite.environment(work)
  // Kept where something was found.
  const place = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-long-"))
  const { output, status } = await ended(args, { environment, place, seconds })
  if (status === "cut off") outcome.cut++
  else if (status === 0) outcome.figure += figureOf(suite, output)
  else {
    outcome.failures++
    const file = path.join(directory, `${suite.name.replaceAll(/\W+/g, "-")}-${work.seed}.txt`)
    const first = `${JSON.stringify(environment)} ${args.join(" ")} (files in ${place})`
    fs.writeFileSync(file, `${first}\n${output.slice(-keptBytes)}`)
    outcome.kept.push(file)
    return (performance.now() - began) / 1000
  }
  fs.rmSync(place, { recursive: true, force: true })
  return (performance.now() - began) / 1000
}

const figureOf = ({ figure }: Suite, output: string): number => {
  let sum = 0
  for (const [, number] of output.matchAll(figure)) sum += Number(number)
  return sum
}
