/**
 * What the long run runs: a row for each suite. A new suite is one row.
 *
 * A row's command is run again and again, each time with another seed and an amount that fills what is left of the
 * suite's time, until that is over. Where there is nothing of that name yet, the row is skipped and says so.
 */

export interface Work {
  readonly amount: number
  readonly seed: number
}

export interface Suite {
  readonly name: string
  /** What the figure counts. */
  readonly unit: string
  /** Part of all time, beside those of the other rows. */
  readonly share: number
  /** Of the first command, which measures what fits; 1 where a command has no amount. */
  readonly amount: (seconds: number) => number
  /** A command that has no amount is not begun twice where less than what it took is left. */
  readonly hasAmount: boolean
  /** A script of `package.json`, or files for vitest. */
  readonly runs: { readonly script: string } | { readonly tests: ReadonlyArray<string> }
  readonly args: (work: Work) => ReadonlyArray<string>
  readonly environment: (work: Work) => Record<string, string>
  /** Numbers in the output that are added up to the figure. */
  readonly figure: RegExp
}

const seeded = ({ seed }: Work) => ({ HEARTWOOD_SEED: `${seed}` })
const seeds = ({ amount, seed }: Work) => ({ HEARTWOOD_SEEDS: `${seed}:${amount}` })
const nothing = () => ({})
const none = () => []

export const suites: ReadonlyArray<Suite> = [
  {
    name: "crash states",
    unit: "states",
    share: 20,
    amount: () => 10_000,
    hasAmount: true,
    runs: { script: "test:crash" },
    args: ({ amount, seed }) => ["--states", `${amount}`, "--seed", `${seed}`],
    environment: nothing,
    figure: /: (\d+) states \(/g
  },
  {
    name: "faults",
    unit: "runs and recoveries",
    share: 12,
    amount: () => 1,
    hasAmount: false,
    runs: { script: "test:faults" },
    args: none,
    environment: seeded,
    figure: /(?:runs|recoveries): (\d+)/g
  },
  {
    name: "rot",
    unit: "damaged stores",
    share: 20,
    // Thousandths of all bits and lengths.
    amount: () => 20,
    hasAmount: true,
    runs: { tests: ["test/rot.test.ts"] },
    args: none,
    environment: ({ amount, seed }) => ({ HEARTWOOD_ROT: `${seed}:${amount}` }),
    figure: /damages: (\d+)/g
  },
  {
    name: "hostile files",
    unit: "damaged stores and decoded bytes",
    share: 10,
    amount: () => 1,
    hasAmount: false,
    runs: { tests: ["test/rot.hostile", "test/rot.places", "test/rot.decoders", "test/rot.younger"] },
    args: none,
    environment: (work) => ({ ...seeded(work), HEARTWOOD_ROT: "all" }),
    figure: /(?:damages|cases): (\d+)/g
  },
  {
    name: "histories",
    unit: "schedules",
    share: 12,
    amount: () => 50,
    hasAmount: true,
    runs: { tests: ["test/histories.test.ts"] },
    args: none,
    environment: seeds,
    figure: /schedules: (\d+)/g
  },
  {
    name: "model of the store",
    unit: "model operations",
    share: 10,
    amount: () => 5,
    hasAmount: true,
    runs: { tests: ["test/model.test.ts"] },
    args: none,
    environment: seeds,
    figure: /of all models { operations: (\d+)/g
  },
  {
    name: "model of the kernel",
    unit: "model operations",
    share: 8,
    amount: () => 1,
    hasAmount: true,
    runs: { tests: ["test/miniFuzz.test.ts"] },
    args: none,
    environment: seeds,
    figure: /of all models { operations: (\d+)/g
  },
  {
    name: "kills",
    unit: "kills",
    share: 8,
    amount: () => 10,
    hasAmount: true,
    runs: { script: "test:kill" },
    args: ({ amount, seed }) => ["--rounds", `${amount}`, "--seed", `${seed}`],
    environment: nothing,
    figure: /^(\d+) rounds \(/gm
  },
  {
    name: "system calls",
    unit: "points",
    share: 8,
    amount: () => 20,
    hasAmount: true,
    runs: { script: "test:processes" },
    args: ({ amount, seed }) => ["--points", `${amount}`, "--seed", `${seed}`],
    environment: nothing,
    figure: /^(\d+) points: /gm
  },
  {
    name: "soak",
    unit: "commits",
    share: 12,
    // In seconds, and at once: it is the long time that it is about. The rest is filling and looking.
    amount: (seconds) => Math.floor(0.8 * seconds) - 10,
    hasAmount: false,
    runs: { script: "test:soak" },
    args: ({ amount, seed }) => ["--minutes", `${amount / 60}`, "--seed", `${seed}`],
    environment: nothing,
    figure: /at the end: .* (\d+) commits/g
  },
  {
    name: "simulation",
    unit: "runs",
    share: 12,
    amount: () => 50,
    hasAmount: true,
    runs: { tests: ["test/simulation.test.ts"] },
    args: none,
    environment: seeds,
    figure: /\bruns: (\d+)/g
  }
]
