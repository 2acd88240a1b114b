import { configDefaults, defineConfig } from "vitest/config"
import { FigureTable } from "./test/support/figureTable.ts"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    setupFiles: ["test/support/figureSetup.ts"],
    reporters: [...configDefaults.reporters, new FigureTable()]
  }
})
