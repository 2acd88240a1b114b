/**
 * Reading what is in memory: gets of one and of a hundred keys, ranges of a hundred records, and all of them in order.
 */
import type { Direction, Session } from "../engines/Engine.ts"
import { spend } from "./Measure.ts"
import type { Distribution, Stage } from "./Stage.ts"
import type { Workload } from "./Workload.ts"

/** Requests of one call of an engine. */
const pieceRequests = 10_000
/** At first: an engine that is a thousand times slower than others must not take as much longer. */
const firstRequests = 1_000
const rangeRecords = 100

type Gets = "gets" | "getsFresh" | "getsMany"

const titles: Readonly<Record<Gets, string>> = {
  gets: "get into a buffer",
  getsFresh: "get, fresh bytes",
  getsMany: "get of 100 keys"
}
const shortNames: Readonly<Record<Gets, string>> = {
  gets: "get",
  getsFresh: "get-fresh",
  getsMany: "get-many"
}

const door = (stage: Stage, name: Gets): NonNullable<Session[Gets]> | undefined => stage.session[name]

const gets = (name: Gets, distribution: Distribution): Workload => ({
  name: `${shortNames[name]}-${distribution}`,
  title: `${titles[name]}, ${distribution}`,
  unit: "records",
  run: async (stage, budget, repetition) => {
    const get = door(stage, name)
    if (get === undefined) return undefined
    // Drawn again from the beginning when all have been asked for.
    const indices = stage.draw(distribution, 10 * pieceRequests, repetition)
    const records = stage.records()
    return spend(budget, pieceRequests, (done, length) => {
      const from = done % indices.length
      return get({ records, indices, from, to: from + length })
    }, firstRequests)
  }
})

const range = (direction: Direction): Workload => ({
  name: `range-100-${direction}`,
  title: `range of 100, ${direction}`,
  unit: "records",
  run: async (stage, budget, repetition) => {
    const { ranges } = stage.session
    if (ranges === undefined) return undefined
    const indices = stage.draw("uniform", 10_000, repetition)
    const records = stage.records()
    const piece = 100
    const requests = budget.operations === undefined ? undefined : Math.ceil(budget.operations / rangeRecords)
    const sample = await spend({ ...budget, operations: requests }, piece, (done, length) => {
      const from = done % indices.length
      return ranges({ records, indices, from, to: from + length }, rangeRecords, direction)
    })
    return { ...sample, operations: sample.found }
  }
})

const scan = (direction: Direction): Workload => ({
  name: `scan-${direction}`,
  title: `full scan, ${direction}`,
  unit: "records",
  run: async (stage, { millis, operations }) => {
    const { scan: all } = stage.session
    if (all === undefined) return undefined
    const once = operations === undefined ? undefined : 1
    const sample = await spend({ millis, operations: once }, 1, () => all(direction))
    return { ...sample, operations: sample.found }
  }
})

export const workloads: ReadonlyArray<Workload> = [
  gets("gets", "uniform"),
  gets("gets", "zipf"),
  gets("getsFresh", "zipf"),
  gets("getsMany", "uniform"),
  gets("getsMany", "zipf"),
  range("ascending"),
  range("descending"),
  scan("ascending"),
  scan("descending")
]
