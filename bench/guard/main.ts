/**
 * The guard: the working tree beside another revision, on the same work, in pairs of processes.
 *
 * `npm run bench:guard -- --base main --pairs 7` checks the base out into a directory of its own, puts the working
 * tree's bench beside its sources, and runs the probe of both in turn, the other one first in every second pair. It
 * prints what changed, and ends with 1 where something got worse. Without `--base` it is the last commit where files
 * differ from it, else the one before.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { shortNumber } from "../compare/Text.ts"
import type { Change, Numbers, Pair } from "./Judge.ts"
import { judge } from "./Judge.ts"

const root = join(import.meta.dirname, "..", "..")
const { values: flags } = parseArgs({
  options: {
    base: { type: "string" },
    pairs: { type: "string", default: "7" },
    records: { type: "string", default: "20000" },
    all: { type: "boolean", default: false }
  }
})

const git = (...args: ReadonlyArray<string>): string =>
  execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim()

/** No collection comes between while bytes are counted. */
const nodeFlags = [
  "--expose-gc",
  "--min-semi-space-size=512",
  "--max-semi-space-size=512",
  "--disable-warning=ExperimentalWarning"
]

const probe = (directory: string): Numbers => {
  const file = join(directory, "bench", "guard", "probe.ts")
  const { status, stderr, stdout } = spawnSync(process.execPath, [...nodeFlags, file, flags.records], {
    encoding: "utf8"
  })
  if (status !== 0) throw new Error(`the probe of ${directory} failed:\n${stderr}`)
  return JSON.parse(stdout) as Numbers
}

/** Another revision's sources, with this bench beside them. */
const checkOut = (base: string, directory: string): void => {
  git("worktree", "add", "--detach", "--force", directory, base)
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"), "dir")
  for (const name of ["guard", "workloads", "engines", "compare", "zipf.ts"]) {
    const from = join(root, "bench", name)
    if (existsSync(from)) cpSync(from, join(directory, "bench", name), { recursive: true })
  }
}

const line = ({ base, name, ratio, tree, verdict }: Change): string => {
  const range = `${ratio.least.toFixed(2)} … ${ratio.most.toFixed(2)}`
  return `${verdict.padEnd(7)} ${name.padEnd(56)} ${shortNumber(base).padStart(9)} → ${
    shortNumber(tree).padStart(9)
  }   × ${ratio.median.toFixed(3)} [${range}]`
}

const base = flags.base ?? (git("status", "--porcelain", "src") === "" ? "HEAD~1" : "HEAD")
const directory = mkdtempSync(join(tmpdir(), "heartwood-guard-"))
const other = join(directory, "base")
const pairs: Array<Pair> = []
try {
  checkOut(base, other)
  console.log(`the working tree beside ${git("log", "-1", "--format=%h %s", base)}`)
  for (let number = 0; number < Number(flags.pairs); number++) {
    const baseFirst = number % 2 === 0
    const first = probe(baseFirst ? other : root)
    const second = probe(baseFirst ? root : other)
    pairs.push(baseFirst ? { base: first, tree: second } : { base: second, tree: first })
    console.log(`pair ${number + 1} of ${flags.pairs}`)
  }
} finally {
  if (existsSync(other)) git("worktree", "remove", "--force", other)
  rmSync(directory, { recursive: true, force: true })
}
const changes = judge(pairs)
const worse = changes.filter(({ verdict }) => verdict === "worse")
for (const change of changes) if (flags.all || change.verdict !== "same") console.log(line(change))
console.log(
  `${changes.length} numbers, ${worse.length} of them worse, beyond what pairs differ by themselves`
)
process.exitCode = worse.length > 0 ? 1 : 0
