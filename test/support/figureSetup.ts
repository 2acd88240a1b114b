/**
 * Set up before each file of tests: hands what it has counted to the table that ends a run.
 */
import { afterAll } from "@effect/vitest"
import type { Figure } from "./figures.ts"
import { figure, figuresSoFar } from "./figures.ts"
import { modelledSoFar } from "./modelled.ts"

declare module "vitest" {
  interface TaskMeta {
    figures?: ReadonlyArray<Figure>
  }
}

// Hooks run in the reverse order: the last of all is this one.
// Vitest reads the first parameter for what is asked of it, which is nothing.
// oxlint-disable-next-line no-empty-pattern
afterAll(({}, file) => {
  const operations = modelledSoFar()
  if (operations > 0) figure("M1 operations of all models", { operations })
  const figures = figuresSoFar()
  if (figures.length > 0) file.meta.figures = figures
})
