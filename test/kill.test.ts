/**
 * A process that is killed loses nothing that it acknowledged: a hundred rounds of `npm run test:kill`.
 *
 * `HEARTWOOD_SEED=n` is another seed, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { Model, transaction } from "./kill/Plan.ts"
import type { Totals } from "./kill/Round.ts"
import { Rounds } from "./kill/Round.ts"
import { bundle } from "./support/bundle.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"

const seed = Number(process.env["HEARTWOOD_SEED"] ?? 3)
const rounds = 100
/** A store of so many rounds is large enough; the next one begins with nothing. */
const perStore = 20
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-kill-"))
const totals: Array<Totals> = []
let worker = ""

describe("kill", () => {
  beforeAll(async () => {
    worker = await bundle(path.join(import.meta.dirname, "kill", "worker.ts"), directory)
  })

  for (let from = 0; from < rounds; from += perStore) {
    it(`${perStore} rounds (seed ${seed + from})`, async () => {
      const store = path.join(directory, `${from}`)
      const chance = random(seed + from)
      const rounds = new Rounds({ directory: store, worker, chance, lifeMillis: 25 })
      totals.push(rounds.totals)
      for (let round = 0; round < perStore; round++) await rounds.run()
      // Kept where a round found something.
      fs.rmSync(store, { recursive: true })
    }, 300_000)
  }

  it("have been everywhere", () => {
    const sum = (name: keyof Totals) => totals.reduce((sum, each) => sum + each[name], 0)
    const figures = {
      kills: sum("rounds"),
      whileOpening: sum("killedWhileOpening"),
      acknowledged: sum("acknowledged"),
      recovered: sum("recovered")
    }
    figure("R1 kills of a process", figures)
    assert.strictEqual(figures.kills, rounds)
    assert.isAbove(figures.whileOpening, 3)
    assert.isAbove(figures.acknowledged, 500)
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
