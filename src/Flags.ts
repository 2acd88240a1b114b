/**
 * The options of a store as flags of a command line.
 *
 * Each flag falls back to its variable in the environment (`--memory` to `HEARTWOOD_MEMORY`), so that a program takes
 * both without a line of its own. A file apart from `Store.ts`, because effect's command line is not small and most
 * programs have none.
 */
import type * as ByteSize from "effect/ByteSize"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Schema from "effect/Schema"
import type { Options } from "./Options.ts"
import { buffers, durabilities, grouped, prefix, single, syncThreads, systemCaches } from "./Options.ts"

const size = (name: string): Flag.Flag<ByteSize.ByteSize> =>
  Flag.withSchema(Flag.String(name), Schema.ByteSizeFromString)

const fallback = <A>(config: Config.Config<A>) => <B>(flag: Flag.Flag<B>): Flag.Flag<A | B> =>
  Flag.withFallbackConfig(flag, Config.nested(config, prefix))

/**
 * `--path`, `--memory`, `--durability`, `--buffer`, `--system-cache`, `--page-size`, `--segment-size`, `--undurable`,
 * `--checkpoint-log-bytes`, `--checkpoint-interval`, `--checkpoint-leaf-records` and `--checkpoint-records`, for
 * `Command.make`; what they give is turned into options by {@link toOptions}.
 */
export const flags = {
  path: Flag.String("path").pipe(fallback(single.path), Flag.withDescription("directory of the store")),
  memory: size("memory").pipe(fallback(single.memory), Flag.withDescription("memory, for instance 256MiB")),
  durability: Flag.Literals("durability", durabilities).pipe(
    fallback(single.durability),
    Flag.withDescription("when a commit counts")
  ),
  buffer: Flag.Literals("buffer", buffers).pipe(
    fallback(single.buffer),
    Flag.withDescription("what is kept in memory of leaves")
  ),
  systemCache: Flag.Literals("system-cache", systemCaches).pipe(
    fallback(single.systemCache),
    Flag.withDescription("whether pages pass through the system's cache")
  ),
  syncThread: Flag.Literals("sync-thread", syncThreads).pipe(
    fallback(single.syncThread),
    Flag.withDescription("where the log is written and synced")
  ),
  pageSize: size("page-size").pipe(
    fallback(single.pageSize),
    Flag.withDescription("page size of a new store")
  ),
  segmentSize: size("segment-size").pipe(
    fallback(single.segmentSize),
    Flag.withDescription("one file of the log")
  ),
  undurable: size("undurable").pipe(
    fallback(single.undurable),
    Flag.withDescription("log visible and not yet synced")
  ),
  logBytes: size("checkpoint-log-bytes").pipe(
    fallback(single.logBytes),
    Flag.withDescription("log after which a checkpoint is taken")
  ),
  interval: Flag.withSchema(Flag.String("checkpoint-interval"), Schema.DurationFromString).pipe(
    fallback(single.interval),
    Flag.withDescription("longest time between checkpoints, for instance \"5 minutes\"")
  ),
  leafRecords: Flag.Int("checkpoint-leaf-records").pipe(
    fallback(single.leafRecords),
    Flag.withDescription("records of one leaf after which a checkpoint is taken")
  ),
  records: Flag.Int("checkpoint-records").pipe(
    fallback(single.records),
    Flag.withDescription("records after which a checkpoint is taken")
  )
}

/** Options from the values of {@link flags}. */
export const toOptions: (values: Parameters<typeof grouped>[0]) => Options = grouped
