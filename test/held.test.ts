/**
 * Which segments are worth emptying, on a log that is simulated: it stays short, moving costs little, and it ends.
 */
import { assert, describe, it } from "@effect/vitest"
import type { HeldSegment } from "../src/log/Held.ts"
import { HELD_FACTOR, movedBytes, worthEmptying } from "../src/log/Held.ts"
import { random } from "./support/random.ts"

const segment = 1_000
const slack = segment / 2

describe("the log that large values hold", () => {
  it("is emptied in the shortest run that is worth it", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const chance = random(seed)
      const segments = Array.from({ length: 1 + chance.int(12) }, (): HeldSegment => ({
        span: 1 + chance.int(segment),
        cost: chance.bool(0.3) ? 0 : chance.int(segment)
      }))
      const pays = (count: number): boolean => {
        const run = segments.slice(0, count)
        const [span, cost] = [
          run.reduce((s, { span }) => s + span, 0),
          run.reduce((s, { cost }) => s + cost, 0)
        ]
        return span >= HELD_FACTOR * cost + slack
      }
      const count = worthEmptying(segments, slack)
      for (let shorter = 1; shorter < count; shorter++) assert.isFalse(pays(shorter), `seed ${seed}`)
      if (count > 0) assert.isTrue(pays(count), `seed ${seed}`)
      else for (let any = 1; any <= segments.length; any++) assert.isFalse(pays(any), `seed ${seed}`)
    }
  })

  it("counts headers: what is small beside them is not moved for ever", () => {
    assert.strictEqual(movedBytes(8, 8, 1_048_576) - movedBytes(8, 0, 1_048_576) >= 8, true)
    assert.isAbove(movedBytes(8, 1, 1_024), 48)
    // Alone in its group, a value has that group's and its record's headers to itself.
    assert.strictEqual(movedBytes(8, 4_096, 1_024), 4_096 + 8 + 32 + 64 + 24)
  })

  /** Values by age; each takes `cost` of the log where it is. */
  const simulate = (seed: number, dies: (index: number) => number, rounds: number) => {
    const chance = random(seed)
    let log: Array<{ span: number; values: Array<{ cost: number; dies: number }> }> = []
    let others = 0
    let moved = 0
    let longest = 0
    const append = (value: { cost: number; dies: number }): void => {
      const last = log.at(-1)
      if (last === undefined || last.span + value.cost > segment) {
        log.push({ span: value.cost, values: [value] })
      } else {
        last.span += value.cost
        last.values.push(value)
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (let index = 0; index < 20; index++) {
        const value = { cost: 50 + chance.int(300), dies: round + dies(chance.int(1_000)) }
        others += value.cost
        append(value)
      }
      for (const each of log) each.values = each.values.filter((value) => value.dies > round)
      log = log.slice(log.findIndex(({ values }) => values.length > 0))
      for (;;) {
        const held = log.slice(0, -1).map(({ span, values }): HeldSegment => ({
          span,
          cost: values.reduce((sum, { cost }) => sum + cost, 0)
        }))
        const count = worthEmptying(held, slack)
        if (count === 0) break
        for (const { values } of log.splice(0, count)) {
          for (const value of values) {
            moved += value.cost
            append(value)
          }
        }
        log = log.slice(log.findIndex(({ values }) => values.length > 0))
      }
      const span = log.reduce((sum, { span }) => sum + span, 0)
      const live = log.flatMap(({ values }) => values).reduce((sum, { cost }) => sum + cost, 0)
      longest = Math.max(longest, span - HELD_FACTOR * live)
    }
    return { others, moved, longest }
  }

  const lives: ReadonlyArray<readonly [string, (chance: number) => number]> = [
    ["die at random", (chance) => 1 + chance / 20],
    ["die soon or hardly ever", (chance) => chance < 900 ? 1 : 400],
    ["never die", () => Infinity],
    ["die at once, but for one in a thousand", (chance) => chance < 999 ? 1 : Infinity]
  ]
  for (const [name, dies] of lives) {
    it(`stays one and a half times as long as values that ${name}`, () => {
      for (let seed = 1; seed <= 20; seed++) {
        const { longest, moved, others } = simulate(seed, dies, 200)
        assert.isAtMost(longest, 2 * segment, `seed ${seed}`)
        assert.isAtMost(moved, 2 * others, `seed ${seed}`)
        if (name !== "never die") assert.isAbove(moved, 0, `seed ${seed}`)
      }
    })
  }
})
