/**
 * Work before, during and after a checkpoint: requests of YCSB A, and durable commits by one writer.
 *
 * Only engines that are asked for a checkpoint run it. The bare disk has the door too: it writes pages beside its
 * overwrite-and-sync loop, as many as the setting says, and so shows what no engine could do better.
 */
import { Kind } from "../engines/Engine.ts"
import type { Mix } from "../engines/Engine.ts"
import { random } from "../zipf.ts"
import { Latencies } from "./Latencies.ts"
import { meter } from "./Measure.ts"
import type { Moment, Sample } from "./Measure.ts"
import type { Stage } from "./Stage.ts"
import type { Workload } from "./Workload.ts"

type Phase = "before" | "during" | "after"

/** Which phase it is: as long before and after as the budget says, and the checkpoint between. */
class Phases {
  now: Phase = "before"
  readonly begun = performance.now()
  private readonly millis: number
  private readonly checkpoint: () => Promise<void>
  private changed = this.begun
  failure: unknown

  constructor(millis: number, checkpoint: () => Promise<void>) {
    this.millis = millis
    this.checkpoint = checkpoint
  }

  /** Looks at the clock; false: it is over. */
  goesOn(): boolean {
    const elapsed = performance.now() - this.changed
    if (this.failure !== undefined) throw this.failure
    if (this.now === "before" && elapsed >= this.millis) {
      this.change("during")
      this.checkpoint().then(() => this.change("after"), (error: unknown) => this.failure = error)
    }
    return this.now !== "after" || elapsed < this.millis
  }

  private change(phase: Phase): void {
    this.now = phase
    this.changed = performance.now()
  }
}

const sliceRequests = 1_000

const halfUpdates = (stage: Stage, repetition: number): Omit<Mix, "from" | "to" | "version"> => {
  const count = 100 * sliceRequests
  const chance = random(repetition + 3)
  return {
    records: stage.records(),
    indices: stage.draw("zipf", count, repetition),
    kinds: Uint8Array.from({ length: count }, () => chance() < 0.5 ? Kind.update : Kind.read),
    lengths: new Uint8Array(count)
  }
}

const rateOf = (timeline: ReadonlyArray<Moment>, phase: Phase): number => {
  const moments = timeline.filter((moment) => moment.phase === phase)
  const sum = (of: "operations" | "millis") => moments.reduce((total, moment) => total + moment[of], 0)
  return sum("operations") / (sum("millis") / 1_000)
}

const throughput: Workload = {
  name: "checkpoint-ycsb-A",
  title: "YCSB A before, during and after a checkpoint",
  unit: "requests",
  run: async (stage, { millis }, repetition): Promise<Sample | undefined> => {
    const { checkpoint, mix } = stage.session
    if (checkpoint === undefined || mix === undefined) return undefined
    const work = halfUpdates(stage, repetition)
    const timeline: Array<Moment> = []
    let operations = 0
    const end = meter()
    const phases = new Phases(millis, checkpoint)
    for (let from = 0; phases.goesOn(); from = (from + sliceRequests) % work.indices.length) {
      const phase = phases.now
      const begun = performance.now()
      await mix({ ...work, from, to: from + sliceRequests, version: stage.version++ })
      const now = performance.now()
      operations += sliceRequests
      timeline.push({ at: now - phases.begun, millis: now - begun, operations: sliceRequests, phase })
    }
    const before = rateOf(timeline, "before")
    const during = rateOf(timeline, "during")
    return {
      ...end(operations),
      timeline,
      more: { before, during, duringPerBefore: during / before }
    }
  }
}

const latency: Workload = {
  name: "checkpoint-commits",
  title: "durable commits of one writer before, during and after a checkpoint",
  unit: "commits",
  run: async (stage, { millis }, repetition): Promise<Sample | undefined> => {
    const { checkpoint, mix, write } = stage.session
    if (checkpoint === undefined || write === undefined) return undefined
    // Changes for the checkpoint to write.
    if (mix !== undefined) {
      const work = halfUpdates(stage, repetition)
      await mix({ ...work, from: 0, to: work.indices.length, version: stage.version++ })
      await stage.session.settle?.()
    }
    const indices = stage.draw("uniform", 100_000, repetition)
    const all = { before: new Latencies(), during: new Latencies(), after: new Latencies() }
    let taken = 0
    const end = meter()
    const phases = new Phases(millis, checkpoint)
    await write({
      records: stage.records(),
      writers: 1,
      version: stage.version++,
      take: () => phases.goesOn() ? indices[taken++ % indices.length] as number : -1,
      acknowledged: (begun) => all[phases.now].add((performance.now() - begun) * 1_000)
    })
    const before = all.before.percentiles()
    const during = all.during.percentiles()
    return {
      ...end(taken),
      latency: during,
      more: {
        p99BeforeMicros: before.p99Micros,
        p99DuringMicros: during.p99Micros,
        p999BeforeMicros: before.p999Micros,
        p999DuringMicros: during.p999Micros,
        commitsDuring: during.count
      }
    }
  }
}

export const workloads: ReadonlyArray<Workload> = [throughput, latency]
