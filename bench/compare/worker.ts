/**
 * The process of one engine: does what the bench asks for, and answers.
 *
 * It loads no other engine than its own. Garbage of one run is collected before the next is timed, and what an engine
 * does in the background afterwards is waited for, as the next to be measured is another engine.
 */
import type { Session } from "../engines/Engine.ts"
import * as Engines from "../engines/Engines.ts"
import { Stage } from "../workloads/Stage.ts"
import { named } from "../workloads/Workloads.ts"
import type { Reply, Request } from "./Protocol.ts"

let stage: Stage | undefined
let filled: Session | undefined

const collect = (): void => (globalThis as { gc?: () => void }).gc?.()

const set = async ({ engine: name, setting, store }: Request & { readonly do: "set" }): Promise<Reply> => {
  const engine = await Engines.load(name)
  stage = new Stage(engine, setting)
  if (store) await stage.set()
  collect()
  const options = store ? stage.session.options : {}
  return { told: { engine: name, version: engine.version(), rank: engine.rank, options } }
}

/** What an engine counted of its actors' slices since `before`; nothing where it has none. */
const slicesSince = (before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>) => {
  const { longSlices, slices } = after
  if (slices === undefined || longSlices === undefined) return {}
  return {
    slices: slices - (before["slices"] ?? 0),
    longSlices: longSlices - (before["longSlices"] ?? 0)
  }
}

const run = async ({ budget, repetition, workload }: Request & { readonly do: "run" }): Promise<Reply> => {
  if (stage === undefined) throw new Error("no stage is set")
  collect()
  const counters = () => (stage?.isOpen === true ? stage.session.counters?.() ?? {} : {})
  const before = counters()
  const sample = await named(workload).run(stage, budget, repetition)
  if (stage.isOpen) await stage.session.settle?.()
  if (sample === undefined) return { sample }
  return { sample: { ...sample, more: { ...sample.more, ...slicesSince(before, counters()) } } }
}

const fill = async (
  { engine: name, logBytes, setting }: Request & { readonly do: "fill" }
): Promise<Reply> => {
  const engine = await Engines.load(name)
  const { directory, durability, memoryBytes, more } = setting
  filled = await engine.open({ directory, durability, memoryBytes, more, logBytes })
  await filled.load?.(new Stage(engine, setting).records(), 0, setting.records, 100)
  await filled.settle?.()
  return { told: { engine: name, version: engine.version(), rank: engine.rank, options: filled.options } }
}

const open = async (
  { engine: name, logBytes, setting }: Request & { readonly do: "open" }
): Promise<Reply> => {
  const engine = await Engines.load(name)
  const records = new Stage(engine, setting).records()
  const { directory, durability, memoryBytes, more } = setting
  const begun = performance.now()
  const session = await engine.open({
    directory,
    durability,
    memoryBytes,
    more,
    logBytes
  })
  const first = await session.gets?.({ records, indices: Uint32Array.of(0), from: 0, to: 1 })
  const millis = performance.now() - begun
  if (first?.found !== 1) throw new Error(`${name} has lost its first record`)
  const all = await session.scan?.("ascending")
  // Not closed: nobody needs the copy any more, and an engine that breaks at the end has been measured all the same.
  return { opened: { millis, found: all?.found ?? 0 } }
}

const close = async (): Promise<Reply> => {
  await stage?.close()
  await filled?.close()
  return {}
}

const answer = (request: Request): Promise<Reply> => {
  switch (request.do) {
    case "set":
      return set(request)
    case "run":
      return run(request)
    case "fill":
      return fill(request)
    case "open":
      return open(request)
    case "close":
      return close()
  }
}

process.on("message", (request: Request) => {
  answer(request).catch((error: unknown): Reply => ({
    error: error instanceof Error ? error.stack ?? error.message : String(error)
  })).then((reply) => process.send?.(reply))
})

// Without anybody who asks there is nothing to do.
process.on("disconnect", () => process.exit())
