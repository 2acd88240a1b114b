/**
 * Mutants of the engine still say what they mean: each finds its place in the sources once, and names a suite that is
 * there. Whether they are caught says `npm run test:mutants`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import { mutants } from "./mutants/all.ts"
import { mutated } from "./mutants/Mutant.ts"

const read = (path: string): string => fs.readFileSync(new URL(path, import.meta.url), "utf8")

describe("mutants", () => {
  for (const mutant of mutants) {
    it(mutant.name, () => {
      const source = read(`../src/${mutant.file}`)
      const changed = mutated(source, mutant)
      assert.isDefined(changed, `what it looks for stands in ${mutant.file} exactly once`)
      assert.notStrictEqual(changed, source)
      assert.isTrue(fs.existsSync(new URL(`${mutant.caughtBy.file}.test.ts`, import.meta.url)))
    })
  }

  it("are many, and no two have one name", () => {
    assert.isAtLeast(mutants.length, 36)
    assert.strictEqual(new Set(mutants.map(({ name }) => name)).size, mutants.length)
  })
})
