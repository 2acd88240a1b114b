/**
 * What a user may say about a store, in sizes and durations as people write them.
 *
 * The same options come from code, from the environment (`HEARTWOOD_…`) and from flags (`Flags.ts`); here they become
 * plain limits. Every contradiction is reported at once, before anything is opened.
 */
import * as ByteSize from "effect/ByteSize"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type {
  BufferMode,
  Durability,
  Limits,
  Options as LimitOptions,
  SyncThread,
  SystemCache
} from "./Limits.ts"
import * as Limits_ from "./Limits.ts"
import type { StoreError } from "./StoreError.ts"
import { InvalidOptions, storeError } from "./StoreError.ts"

/** When a commit may count, from the fastest to the safest. */
export const durabilities = ["memory", "buffered", "synced"] as const satisfies ReadonlyArray<Durability>

/** What the buffer holds. */
export const buffers = ["miniPages", "pages"] as const satisfies ReadonlyArray<BufferMode>
/** How pages get to the disk and back, from the one that works everywhere to the one that asks most. */
export const systemCaches = ["use", "avoid", "bypass"] as const satisfies ReadonlyArray<SystemCache>

/** Who writes the log, from the one that holds up nobody to the one that answers soonest. */
export const syncThreads = ["pool", "caller"] as const satisfies ReadonlyArray<SyncThread>

/** How a store is opened. Everything but the path has a default (`docs/tuning.md`). */
export interface Options {
  /** The store's directory; made where it is missing, its parent must exist. */
  readonly path: string
  /** Memory for pages, staging and workspaces. Default 256 MiB. */
  readonly memory?: ByteSize.Input | undefined
  /** When a commit counts, unless the transaction says otherwise. Default `"synced"`. */
  readonly durability?: Durability | undefined
  /**
   * What is kept in memory of a leaf that does not fit as a whole: `"miniPages"`, its records in use and its changes
   * (the default), or `"pages"`, all of it or nothing, as a page cache does.
   */
  readonly buffer?: BufferMode | undefined
  /**
   * Whether pages pass through the operating system's cache. Default `"use"`: its free memory holds pages that
   * `memory` does not. `"bypass"` keeps each page in memory once and leaves the machine's memory to others, for the
   * price of a trip to the device at every page that is not in `memory` (`docs/tuning.md` has figures); opening
   * fails with `DiskFailed`, code `"NODIRECT"`, where the file system cannot do it, and with `InvalidOptions` where
   * pages are smaller than 4 KiB. `"avoid"` does the same where it can be done, and uses the cache elsewhere.
   */
  readonly systemCache?: SystemCache | undefined
  /**
   * Where the log is written and synced. Default `"pool"`: in another thread, while everything else goes on.
   * `"caller"` saves the way there and back, so that commits of one writer after another answer sooner, and holds the
   * event loop for as long as the disk takes (`docs/tuning.md` has figures).
   */
  readonly syncThread?: SyncThread | undefined
  /** Fixed when the store is made. Default 4 KiB; an existing store keeps its own. */
  readonly pageSize?: ByteSize.Input | undefined
  /** One file of the log. Default 16 MiB. */
  readonly segmentSize?: ByteSize.Input | undefined
  /** Log that may be visible and not yet synced. Default 8 MiB. */
  readonly undurable?: ByteSize.Input | undefined
  /** When checkpoints are taken; whichever comes first. */
  readonly checkpoint?: {
    /** Log since the last one; what recovery reads. Default: a quarter of `memory`, from 64 MiB to 1 GiB. */
    readonly logBytes?: ByteSize.Input | undefined
    /** Time since the last one, if there were commits. Default 5 minutes. */
    readonly interval?: Duration.Input | undefined
    /** Records of one leaf since its last image. Default 65,536. */
    readonly leafRecords?: number | undefined
    /** Records in all. Default: as many as 64 bytes of log each make `logBytes`. */
    readonly records?: number | undefined
  } | undefined
  /** Any other limit, by its name in `docs/tuning.md`, as a plain number. */
  readonly limits?: LimitOptions | undefined
}

/** The limits that options ask for. A size or a duration that is none is NaN, which no limit may be. */
export const toLimits = (options: Options): LimitOptions => {
  const { checkpoint, limits } = options
  return {
    ...limits,
    ...given("memoryBytes", bytes(options.memory)),
    ...given("pageBytes", bytes(options.pageSize)),
    ...given("segmentBytes", bytes(options.segmentSize)),
    ...given("undurableBytes", bytes(options.undurable)),
    checkpoint: {
      ...limits?.checkpoint,
      ...given("logBytes", bytes(checkpoint?.logBytes)),
      ...given("intervalMillis", millis(checkpoint?.interval)),
      ...given("leafRecords", checkpoint?.leafRecords),
      ...given("records", checkpoint?.records)
    }
  }
}

/** The same, or everything that is wrong with the options, before anything is opened. */
export const check = (options: Options): Effect.Effect<LimitOptions, StoreError> =>
  Effect.suspend(() => {
    const asked = toLimits(options)
    const problems = [...strangers(options), ...words(options), ...contradictions(options)]
    const small = tooSmall(options.systemCache, asked.pageBytes)
    if (small !== undefined) problems.push(small)
    const resolved = Limits_.resolve(asked, unread(options))
    if (resolved._tag === "Invalid") problems.push(...resolved.problems)
    return problems.length === 0
      ? Effect.succeed(asked)
      : Effect.fail(storeError(new InvalidOptions({ problems })))
  })

/** Complete, as the compiler sees to. */
const known: { readonly [N in keyof Required<Options>]: true } = {
  path: true,
  memory: true,
  durability: true,
  buffer: true,
  systemCache: true,
  syncThread: true,
  pageSize: true,
  segmentSize: true,
  undurable: true,
  checkpoint: true,
  limits: true
}
const knownOfCheckpoint: { readonly [N in keyof Required<NonNullable<Options["checkpoint"]>>]: true } = {
  logBytes: true,
  interval: true,
  leafRecords: true,
  records: true
}

/** Options that there are not: an option whose name is wrong would else be the default, and nobody would know. */
const strangers = (options: Options): ReadonlyArray<string> => [
  ...unknown("", options, known),
  ...unknown("checkpoint.", options.checkpoint, knownOfCheckpoint)
]

const unknown = (prefix: string, given: object | undefined, known: object): ReadonlyArray<string> =>
  Object.entries(given ?? {}).filter(([name, value]) => value !== undefined && !Object.hasOwn(known, name))
    .map(([name]) => `there is no option ${prefix}${name}: ${instead(prefix, name, known)}`)

const instead = (prefix: string, name: string, known: object): string => {
  if (/^read-?only$/i.test(name)) return "open the store with Store.layerReadOnly"
  if (Object.hasOwn(Limits_.ranges, prefix + name)) return `it is a limit, give it as limits.${prefix}${name}`
  return `correct its name to one of ${Object.keys(known).join(", ")}`
}

/** What is wrong with sizes and durations that are none, by the limit that each stands for. */
const unread = (options: Options): ReadonlyMap<string, string> => {
  const { checkpoint } = options
  const sizes: ReadonlyArray<readonly [string, Limits_.Name, ByteSize.Input | undefined]> = [
    ["memory", "memoryBytes", options.memory],
    ["pageSize", "pageBytes", options.pageSize],
    ["segmentSize", "segmentBytes", options.segmentSize],
    ["undurable", "undurableBytes", options.undurable],
    ["checkpoint.logBytes", "checkpoint.logBytes", checkpoint?.logBytes]
  ]
  const problems = new Map<string, string>()
  const tell = (option: string, limit: Limits_.Name, input: unknown, example: string): void => {
    const accepted = `${Limits_.wording(limit)}, or text with a unit, as in "${example}"`
    problems.set(limit, `${option} is ${shown(input)}: make it ${accepted}`)
  }
  for (const [option, limit, input] of sizes) {
    if (Number.isNaN(bytes(input))) tell(option, limit, input, limit === "pageBytes" ? "4 KiB" : "64 MiB")
  }
  if (Number.isNaN(millis(checkpoint?.interval))) {
    tell("checkpoint.interval", "checkpoint.intervalMillis", checkpoint?.interval, "5 minutes")
  }
  return problems
}

/** What was given, as it is written in a program. */
const shown = (input: unknown): string => typeof input === "string" ? JSON.stringify(input) : String(input)

/** What is wrong with options that are words. Types rule it out; JavaScript and configuration do not. */
const words = ({ buffer, durability, path, syncThread, systemCache }: Options): ReadonlyArray<string> => {
  const problems: Array<string> = []
  if (typeof path !== "string" || path === "") {
    problems.push(`path is ${JSON.stringify(path)}: name a directory`)
  }
  if (durability !== undefined && !durabilities.includes(durability)) {
    problems.push(`durability is ${JSON.stringify(durability)}: make it one of ${durabilities.join(", ")}`)
  }
  if (buffer !== undefined && !buffers.includes(buffer)) {
    problems.push(`buffer is ${JSON.stringify(buffer)}: make it one of ${buffers.join(", ")}`)
  }
  if (systemCache !== undefined && !systemCaches.includes(systemCache)) {
    problems.push(`systemCache is ${JSON.stringify(systemCache)}: make it one of ${systemCaches.join(", ")}`)
  }
  if (syncThread !== undefined && !syncThreads.includes(syncThread)) {
    problems.push(`syncThread is ${JSON.stringify(syncThread)}: make it one of ${syncThreads.join(", ")}`)
  }
  return problems
}

/** A page that is a part of a block can be written past the system's cache by no single call. */
const tooSmall = (systemCache: SystemCache | undefined, pageBytes: number | undefined): string | undefined =>
  systemCache === "bypass" && pageBytes !== undefined && pageBytes < Limits_.directBytes
    ? `systemCache is "bypass" and pageBytes is ${pageBytes}: `
      + `make systemCache "use", or the store with pages of ${Limits_.directBytes} bytes or more`
    : undefined

/** How to open the page file of a store with such pages. */
export const systemCacheOf = (
  asked: SystemCache,
  pageBytes: number
): Effect.Effect<SystemCache, StoreError> => {
  const problem = tooSmall(asked, pageBytes)
  if (problem !== undefined) return Effect.fail(storeError(new InvalidOptions({ problems: [problem] })))
  return Effect.succeed(pageBytes < Limits_.directBytes ? "use" : asked)
}

/** Options that stand for a limit, where that limit is given beside them and differs. */
const contradictions = (options: Options): ReadonlyArray<string> => {
  const { checkpoint, limits } = options
  const pairs: ReadonlyArray<
    readonly [option: string, limit: string, a: number | undefined, b: number | undefined]
  > = [
    ["memory", "memoryBytes", bytes(options.memory), limits?.memoryBytes],
    ["pageSize", "pageBytes", bytes(options.pageSize), limits?.pageBytes],
    ["segmentSize", "segmentBytes", bytes(options.segmentSize), limits?.segmentBytes],
    ["undurable", "undurableBytes", bytes(options.undurable), limits?.undurableBytes],
    ["checkpoint.logBytes", "checkpoint.logBytes", bytes(checkpoint?.logBytes), limits?.checkpoint?.logBytes],
    [
      "checkpoint.interval",
      "checkpoint.intervalMillis",
      millis(checkpoint?.interval),
      limits?.checkpoint?.intervalMillis
    ],
    [
      "checkpoint.leafRecords",
      "checkpoint.leafRecords",
      checkpoint?.leafRecords,
      limits?.checkpoint?.leafRecords
    ],
    ["checkpoint.records", "checkpoint.records", checkpoint?.records, limits?.checkpoint?.records]
  ]
  return pairs
    .filter(([, , a, b]) => a !== undefined && b !== undefined && a !== b)
    .map(([option, limit, a, b]) => `${option} is ${a} and limits.${limit} is ${b}: give one of them`)
}

/** Completes and checks limits, for a store that was made with pages of `storedPageBytes` if there is one. */
export const resolve = (options: LimitOptions, storedPageBytes?: number): Effect.Effect<Limits, StoreError> =>
  Effect.suspend(() => {
    const pageBytes = options.pageBytes ?? storedPageBytes
    const resolved = Limits_.resolve({ ...options, pageBytes })
    const problems = resolved._tag === "Invalid" ? [...resolved.problems] : []
    if (storedPageBytes !== undefined && pageBytes !== storedPageBytes) {
      problems.push(
        `pageBytes is ${pageBytes}, but the store was made with ${storedPageBytes}: leave pageBytes out`
      )
    }
    return resolved._tag === "Valid" && problems.length === 0
      ? Effect.succeed(resolved.limits)
      : Effect.fail(storeError(new InvalidOptions({ problems })))
  })

const bytes = (input: ByteSize.Input | undefined): number | undefined =>
  input === undefined
    ? undefined
    : Option.getOrElse(Option.flatMap(ByteSize.fromInput(input), ByteSize.toNumber), () => NaN)

const millis = (input: Duration.Input | undefined): number | undefined =>
  input === undefined
    ? undefined
    : Option.getOrElse(Option.map(Duration.fromInput(input), Duration.toMillis), () => NaN)

const given = <N extends string>(name: N, value: number | undefined): { readonly [K in N]?: number } =>
  (value === undefined ? {} : { [name]: value }) as { readonly [K in N]?: number }

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.withDefault<A, undefined>(config, undefined)

/** Of every variable. */
export const prefix = "HEARTWOOD"

/** Each option by itself, from its variable below the prefix. */
export const single = {
  path: Config.String("PATH"),
  memory: optional(Config.ByteSize("MEMORY")),
  durability: optional(Config.Literals(durabilities, "DURABILITY")),
  buffer: optional(Config.Literals(buffers, "BUFFER")),
  systemCache: optional(Config.Literals(systemCaches, "SYSTEM_CACHE")),
  syncThread: optional(Config.Literals(syncThreads, "SYNC_THREAD")),
  pageSize: optional(Config.ByteSize("PAGE_SIZE")),
  segmentSize: optional(Config.ByteSize("SEGMENT_SIZE")),
  undurable: optional(Config.ByteSize("UNDURABLE")),
  logBytes: optional(Config.ByteSize("CHECKPOINT_LOG_BYTES")),
  interval: optional(Config.Duration("CHECKPOINT_INTERVAL")),
  leafRecords: optional(Config.Int("CHECKPOINT_LEAF_RECORDS")),
  records: optional(Config.Int("CHECKPOINT_RECORDS"))
}

export type Single = { readonly [K in keyof typeof single]: Config.Success<(typeof single)[K]> }

/** Options as they are given one by one. */
export const grouped = ({ interval, leafRecords, logBytes, records, ...rest }: Single): Options => ({
  // No others: the values of a command have its own flags among them.
  path: rest.path,
  memory: rest.memory,
  durability: rest.durability,
  buffer: rest.buffer,
  systemCache: rest.systemCache,
  syncThread: rest.syncThread,
  pageSize: rest.pageSize,
  segmentSize: rest.segmentSize,
  undurable: rest.undurable,
  checkpoint: { interval, leafRecords, logBytes, records }
})

/** All options from the environment: `HEARTWOOD_PATH`, `HEARTWOOD_MEMORY`, `HEARTWOOD_CHECKPOINT_LOG_BYTES`, … */
export const config: Config.Config<Options> = Config.map(
  Config.nested(Config.all(single), prefix),
  grouped
)
