/**
 * Puts one mutant after another into a copy of the sources, and sees that a suite finds each: `npm run test:mutants`.
 *
 * `--only <part of a name or file>`, `--at 2` (mutants at a time), `--seconds 120` (the most for one suite). First the
 * suites run on sources without a mutant, where all of them must pass. The exit code is 1 where a mutant survives, or
 * cannot be tried. One that survives is a hole in the tests: a better test closes it.
 */
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import { parseArgs } from "node:util"
import { mutants } from "./all.ts"
import type { Ran } from "./Copy.ts"
import { Copy } from "./Copy.ts"
import type { Mutant, Suite } from "./Mutant.ts"

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    at: { type: "string", default: "2" },
    seconds: { type: "string", default: "180" }
  }
})

const nameOf = ({ file, tests }: Suite): string => tests === undefined ? file : `${file} -t "${tests}"`

const took = ({ seconds }: Ran): string => `${seconds.toFixed(1)} s`

/** Works through a list with as many copies as there are. */
const each = async <A>(
  copies: ReadonlyArray<Copy>,
  list: ReadonlyArray<A>,
  work: (copy: Copy, one: A) => Promise<void>
): Promise<void> => {
  const left = [...list]
  await Promise.all(copies.map(async (copy) => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await work(copy, one)
  }))
}

/** The names of suites that do not pass without a mutant, which then say nothing. */
const unsound = async (copies: ReadonlyArray<Copy>, chosen: ReadonlyArray<Mutant>): Promise<Set<string>> => {
  const suites = new Map(chosen.map(({ caughtBy }) => [nameOf(caughtBy), caughtBy]))
  const failed = new Set<string>()
  await each(copies, [...suites], async (copy, [name, suite]) => {
    const ran = await copy.run(suite, mostMillis)
    if (ran._tag === "passed") return console.log(`passes  ${name}: ${ran.tests} tests, ${took(ran)}`)
    failed.add(name)
    console.log(`FAILS   ${name} without a mutant: ${ran._tag}, ${took(ran)}`)
    if (ran._tag === "broken") console.log(ran.output)
  })
  return failed
}

const isCaught = ({ caughtBy }: Mutant, ran: Ran): boolean =>
  ran._tag === "failed" || ran._tag === "time is up" && caughtBy.hangs === "may hang"

const tell = (mutant: Mutant, ran: Ran): void => {
  const how = ran._tag === "failed" ? `fails "${ran.test}"` : ran._tag
  const what = isCaught(mutant, ran) ? "caught  " : ran._tag === "passed" ? "SURVIVES" : "BROKEN  "
  console.log(`${what} ${mutant.name}: ${nameOf(mutant.caughtBy)} ${how}, ${took(ran)}`)
  if (ran._tag === "broken") console.log(ran.output)
}

const mostMillis = Number(values.seconds) * 1000
const chosen = mutants.filter(({ file, name }) => `${file}: ${name}`.includes(values.only))
const base = await fs.mkdtemp(path.join(os.tmpdir(), "heartwood-mutants-"))
process.once("SIGINT", () => process.exit(130))
process.once("SIGTERM", () => process.exit(143))
try {
  const repository = path.resolve(import.meta.dirname, "../..")
  const copies = Array.from(
    { length: Number(values.at) },
    (_, index) => new Copy(path.join(base, `${index}`))
  )
  for (const copy of copies) await copy.fill(repository)
  const failed = await unsound(copies, chosen)
  let caught = 0
  await each(copies, chosen, async (copy, mutant) => {
    if (failed.has(nameOf(mutant.caughtBy))) return
    const ran = await copy.tryOne(mutant, mostMillis)
    if (isCaught(mutant, ran)) caught++
    tell(mutant, ran)
  })
  console.log(`${caught} of ${chosen.length} caught`)
  if (caught < chosen.length) process.exitCode = 1
} finally {
  await fs.rm(base, { recursive: true, force: true })
}
