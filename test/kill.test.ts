/**
 * A process that is killed loses nothing that it acknowledged: a few rounds of `npm run test:kill`.
 */
import { assert, describe, it } from "@effect/vitest"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { Model, transaction } from "./kill/Plan.ts"
import { Rounds } from "./kill/Round.ts"
import { random } from "./support/random.ts"

describe("kill", () => {
  it("12 rounds (seed 3)", async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-kill-"))
    const rounds = new Rounds(path.join(directory, "store"), random(3))
    for (let round = 0; round < 12; round++) await rounds.run()
    assert.strictEqual(rounds.totals.rounds, 12)
    assert.isAbove(rounds.totals.acknowledged, 12)
    assert.isAtLeast(rounds.totals.commits, 12)
    // Kept where a round found something.
    fs.rmSync(directory, { recursive: true })
  })

  it("finds a commit that is missing, torn or invented", () => {
    const last = 400
    const model = new Model()
    model.advance(last)
    const other = (change: (model: Model) => void, { off = 0, unresolved = 0 } = {}) => {
      const found = new Model()
      found.advance(last)
      change(found)
      const { states } = found
      const counts = {
        numbers: { count: states.numbers.size, unresolved: 0 },
        words: { count: states.words.size, unresolved: 0 },
        pairs: { count: states.pairs.size + off, unresolved }
      }
      return model.difference({ number: last, states, counts })
    }
    assert.isUndefined(other(() => {}))
    assert.isUndefined(other(() => {}, { off: -2, unresolved: 2 }))
    assert.match(other(() => {}, { off: 3, unresolved: 2 }) ?? "", /counts/)
    assert.match(other(() => {}, { off: 1 }) ?? "", /counts/)
    const [key] = model.states.numbers.keys()
    assert.match(other(({ states }) => states.numbers.delete(key ?? 0)) ?? "", /is missing/)
    assert.match(other(({ states }) => states.numbers.set(key ?? 0, 1)) ?? "", /another value/)
    assert.match(other(({ states }) => states.numbers.set(-1, 1)) ?? "", /should not be there/)
    assert.isDefined(other((found) => found.advance(last + 5)))
    assert.deepStrictEqual(transaction(7), transaction(7))
  })
})
