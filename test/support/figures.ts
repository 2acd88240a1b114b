/**
 * Set up before each file of tests where `HEARTWOOD_FIGURES` asks for figures: prints what no suite counts by itself.
 */
import { afterAll, expect } from "@effect/vitest"
import path from "node:path"
import { modelledSoFar } from "./modelled.ts"

afterAll(() => {
  const operations = modelledSoFar()
  const file = path.basename(expect.getState().testPath ?? "")
  if (operations > 0) console.log(`model operations of ${file}: ${operations}`)
})
