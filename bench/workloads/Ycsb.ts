/**
 * The core workloads of YCSB, A to F, uniform and by Zipf with a skew of 0.99 (Cooper et al., "Benchmarking cloud
 * serving systems with YCSB", SoCC 2010). Writes wait for no disk.
 *
 * C reads only, so it is the get of the reads. D inserts, and reads what was inserted last. E scans 1 to 100 records.
 * F reads before it writes. Records that are inserted stay for the repetitions after.
 */
import { Kind } from "../engines/Engine.ts"
import type { Mix } from "../engines/Engine.ts"
import { random } from "../zipf.ts"
import { spend } from "./Measure.ts"
import type { Distribution, Stage } from "./Stage.ts"
import type { Workload } from "./Workload.ts"

interface Shape {
  readonly letter: string
  readonly says: string
  /** Kind and part of the requests; the rest are reads. */
  readonly writes: number
  readonly kind: number
  readonly scans?: true
  readonly distributions: ReadonlyArray<Distribution>
}

const both = ["zipf", "uniform"] as const

const shapes: ReadonlyArray<Shape> = [
  { letter: "A", says: "half updates", writes: 0.5, kind: Kind.update, distributions: both },
  { letter: "B", says: "5 % updates", writes: 0.05, kind: Kind.update, distributions: both },
  { letter: "C", says: "reads", writes: 0, kind: Kind.update, distributions: both },
  {
    letter: "D",
    says: "5 % inserts, reads of the latest",
    writes: 0.05,
    kind: Kind.insert,
    distributions: ["latest"]
  },
  {
    letter: "E",
    says: "scans, 5 % inserts",
    writes: 0.05,
    kind: Kind.insert,
    scans: true,
    distributions: both
  },
  { letter: "F", says: "half read-modify-writes", writes: 0.5, kind: Kind.modify, distributions: both }
]

/** Requests of one call: of reads, and of scans, which take longer. */
const pieceRequests = 5_000
const pieceScans = 500
/** Drawn for a repetition of a time, and asked for again where that is not enough. */
const pieces = 20

/** The requests of a piece; those of a piece after it insert other records. */
const drawn = (stage: Stage, shape: Shape, distribution: Distribution, seed: number, count: number) => {
  const chance = random(seed + 17)
  const indices = stage.draw(distribution, count, seed)
  const kinds = new Uint8Array(count)
  const lengths = new Uint8Array(count)
  for (let place = 0; place < count; place++) {
    lengths[place] = 1 + Math.floor(chance() * 100)
    kinds[place] = chance() < shape.writes ? shape.kind : shape.scans === true ? Kind.scan : Kind.read
  }
  return { indices, kinds, lengths }
}

/** Gives each insert the next record that is not there, as long as there is one. */
const insertNext = (stage: Stage, { from, indices, kinds, to }: Mix): void => {
  const { capacity } = stage.records()
  for (let place = from; place < to; place++) {
    if (kinds[place] !== Kind.insert) continue
    indices[place] = stage.count < capacity ? stage.count++ : stage.count - 1
  }
}

const ycsb = (shape: Shape, distribution: Distribution): Workload => ({
  name: `ycsb-${shape.letter}-${distribution}`,
  title: `YCSB ${shape.letter} (${shape.says}), ${distribution}`,
  unit: "requests",
  run: async (stage, budget, repetition) => {
    const { mix, ranges } = stage.session
    if (mix === undefined || shape.scans === true && ranges === undefined) return undefined
    const piece = shape.scans === true ? pieceScans : pieceRequests
    const requests = drawn(stage, shape, distribution, repetition, budget.operations ?? pieces * piece)
    const records = stage.records()
    const sample = await spend(budget, piece, (done, length) => {
      const from = done % requests.indices.length
      const work: Mix = { records, ...requests, from, to: from + length, version: stage.version++ }
      if (shape.kind === Kind.insert) insertNext(stage, work)
      return mix(work)
    })
    const { handedBytes, operations, writtenBytes } = sample
    const writes = operations * shape.writes
    if (handedBytes === undefined || writtenBytes === undefined || writes === 0) return sample
    const more = { writtenBytesPerWrite: writtenBytes / writes, handedBytesPerWrite: handedBytes / writes }
    return { ...sample, more }
  }
})

export const workloads: ReadonlyArray<Workload> = shapes.flatMap((shape) =>
  shape.distributions.map((distribution) => ycsb(shape, distribution))
)
