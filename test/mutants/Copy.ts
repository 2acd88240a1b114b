/**
 * A copy of the repository in which one mutant after another is put into the sources, and suites are run.
 *
 * I1 The repository itself is never changed.
 * I2 What a run has started ends with it: whatever is left of its process group when its time is up is killed.
 */
import { spawn } from "node:child_process"
import fs from "node:fs/promises"
import path from "node:path"
import type { Mutant, Suite } from "./Mutant.ts"
import { mutated } from "./Mutant.ts"

/** What became of a suite: `broken` where it did not come to a test, and so has seen nothing. */
export type Ran =
  & { readonly seconds: number }
  & (
    | { readonly _tag: "passed"; readonly tests: number }
    | { readonly _tag: "failed"; readonly test: string }
    | { readonly _tag: "time is up" }
    | { readonly _tag: "broken"; readonly output: string }
  )

const copied = [
  "src",
  "test",
  "docs",
  "examples",
  "bench",
  "package.json",
  "tsconfig.json",
  "vitest.config.ts"
]

/** What vitest's report says of a run. */
interface Report {
  readonly numPassedTests: number
  readonly testResults: ReadonlyArray<{
    readonly assertionResults: ReadonlyArray<{ readonly status: string; readonly fullName: string }>
  }>
}

export class Copy {
  private readonly root: string

  constructor(root: string) {
    this.root = root
  }

  /** Copies the repository `from` into the directory. */
  async fill(from: string): Promise<void> {
    await fs.mkdir(this.root, { recursive: true })
    for (const name of copied) {
      await fs.cp(path.join(from, name), path.join(this.root, name), { recursive: true })
    }
    await fs.symlink(await fs.realpath(path.join(from, "node_modules")), path.join(this.root, "node_modules"))
  }

  /** Runs the suite that must see a mutant, with the mutant in the sources. */
  async tryOne(mutant: Mutant, mostMillis: number): Promise<Ran> {
    const file = path.join(this.root, "src", mutant.file)
    const source = await fs.readFile(file, "utf8")
    const changed = mutated(source, mutant)
    if (changed === undefined) {
      return { _tag: "broken", seconds: 0, output: `${mutant.file} does not have it exactly once` }
    }
    await fs.writeFile(file, changed)
    try {
      return await this.run(mutant.caughtBy, mostMillis)
    } finally {
      await fs.writeFile(file, source)
    }
  }

  /** Runs a suite up to its first failure. */
  async run({ file, tests }: Suite, mostMillis: number): Promise<Ran> {
    const report = path.join(this.root, "report.json")
    await fs.rm(report, { force: true })
    const began = performance.now()
    const asked = tests === undefined ? [] : ["--testNamePattern", tests]
    const { code, output } = await this.spawned(
      ["run", `test/${file}.test.ts`, "--bail=1", "--reporter=json", `--outputFile=${report}`, ...asked],
      mostMillis
    )
    const seconds = (performance.now() - began) / 1000
    if (code === "time is up") return { _tag: "time is up", seconds }
    const text = await fs.readFile(report, "utf8").catch(() => undefined)
    if (text === undefined) return { _tag: "broken", seconds, output }
    const { numPassedTests, testResults } = JSON.parse(text) as Report
    const failed = testResults.flatMap(({ assertionResults }) => assertionResults)
      .find(({ status }) => status === "failed")
    if (failed !== undefined) return { _tag: "failed", seconds, test: failed.fullName }
    return code === 0 && numPassedTests > 0
      ? { _tag: "passed", seconds, tests: numPassedTests }
      : { _tag: "broken", seconds, output }
  }

  private spawned(
    args: ReadonlyArray<string>,
    mostMillis: number
  ): Promise<{ readonly code: number | "time is up"; readonly output: string }> {
    const vitest = path.join(this.root, "node_modules/vitest/vitest.mjs")
    // Seeds of the surroundings would make another suite of it.
    const { HEARTWOOD_FIGURES: _figures, HEARTWOOD_SEED: _seed, ...env } = process.env
    return new Promise((resolve) => {
      const child = spawn(process.execPath, [vitest, ...args], { cwd: this.root, env, detached: true })
      let output = ""
      child.stdout.on("data", (data) => output += data)
      child.stderr.on("data", (data) => output += data)
      const end = (): void => {
        try {
          process.kill(-(child.pid as number), "SIGKILL")
        } catch {
          // Gone already, as it should be.
        }
      }
      let late = false
      const timer = setTimeout(() => {
        late = true
        end()
      }, mostMillis)
      process.once("exit", end)
      child.once("close", (code) => {
        clearTimeout(timer)
        process.removeListener("exit", end)
        end()
        resolve({ code: late ? "time is up" : code ?? -1, output })
      })
    })
  }
}
