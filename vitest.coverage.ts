/**
 * The lines of the sources that quick suites run through: `npm run test:coverage`, a part of `npm test`.
 *
 * Not all suites: what counts lines makes the engine about twice as slow (`docs/testing.md`), and where it is the
 * number of states that finds something, that is worth more than a figure.
 */
import { defineConfig } from "vitest/config"
import { CoverageLines } from "./test/support/coverageLines.ts"

/** Through all layers, each in a few processor seconds. */
const suites = [
  "bulk",
  "codec",
  "expiry",
  "indexes.build",
  "limits",
  "readOnly",
  "salvage.paths",
  "segments",
  "snapshot",
  "storeReopen",
  "superblock",
  "telemetry",
  "tx",
  "tx.own",
  "tx.steps"
]

export default defineConfig({
  test: {
    include: suites.map((name) => `test/${name}.test.ts`),
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    // Failures are told with what they printed.
    silent: "passed-only",
    reporters: ["dot", new CoverageLines()],
    coverage: {
      enabled: true,
      provider: "v8",
      include: ["src/**/*.ts"],
      reporter: [],
      reportsDirectory: ".heartwood/coverage"
    }
  }
})
