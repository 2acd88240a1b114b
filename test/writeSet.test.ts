/**
 * The writes of a transaction by keyspace, few or many, and what taking them back leaves.
 */
import { assert, describe, it } from "@effect/vitest"
import { WriteSet } from "../src/WriteSet.ts"
import { random } from "./support/random.ts"

const key = new Uint8Array([1])

describe("keyspaces of a write set", () => {
  for (let seed = 1; seed <= 20; seed++) {
    it(`are those that were written and not taken back (seed ${seed})`, () => {
      const chance = random(seed)
      const writes = new WriteSet()
      const spaces = chance.pick([4, 9, 40])
      let names: Array<string> = []
      const marks: Array<
        { readonly mark: ReturnType<WriteSet["mark"]>; readonly names: ReadonlyArray<string> }
      > = []
      for (let step = 0; step < 400; step++) {
        const kind = chance.int(20)
        if (kind === 0) marks.push({ mark: writes.mark(), names: [...names] })
        else if (kind === 1) {
          const last = marks.pop()
          if (last !== undefined) writes.restore(last.mark)
          names = [...last?.names ?? names]
        } else if (kind === 2) {
          const last = marks.pop()
          if (last !== undefined) writes.keep(last.mark)
        } else if (kind === 3 && marks.length === 0) {
          writes.take()
          names = []
        } else {
          const name = `keyspace ${chance.int(spaces)}`
          writes.set({ name, layout: "" }, { key, value: key })
          if (!names.includes(name)) names.push(name)
        }
        assert.deepStrictEqual(writes.values().map(({ name }) => name), names)
        const asked = `keyspace ${chance.int(spaces)}`
        assert.strictEqual(writes.find(asked)?.name, names.includes(asked) ? asked : undefined)
      }
    })
  }
})
