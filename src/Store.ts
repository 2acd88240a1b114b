/**
 * The store as a service, and the layers that open it.
 *
 * `Store.layer({ path })` recovers what is there (or makes a store where nothing is), runs it until its scope closes,
 * and closes it with a checkpoint. Keyspaces, snapshots and transactions find it in `R`.
 *
 * I1 Every effect here is lazy: run twice, it looks twice.
 */
import type * as Config from "effect/Config"
import * as ConfigModule from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Report } from "./actors/Checkpoint.ts"
import type { Trigger } from "./actors/checkpoint/Triggers.ts"
import type { Damage } from "./actors/files/Damage.ts"
import type { Report as Shortage } from "./actors/files/Shortage.ts"
import type { Progress } from "./actors/opening/Recovery.ts"
import type { Report as Expired } from "./actors/upkeep/Expiry.ts"
import type { Report as Relocated } from "./actors/upkeep/Relocation.ts"
import * as Backup from "./Backup.ts"
import { Disk } from "./disk/Disk.ts"
import * as MemoryDisk from "./disk/MemoryDisk.ts"
import * as NodeDisk from "./disk/NodeDisk.ts"
import { Feed } from "./Feed.ts"
import { checkLsn } from "./Given.ts"
import * as Inspect from "./Inspect.ts"
import * as Machine from "./Machine.ts"
import type { Options } from "./Options.ts"
import { check } from "./Options.ts"
import { series } from "./Series.ts"
import type { StoreError } from "./StoreError.ts"
import * as Telemetry from "./Telemetry.ts"
import type { Event as PageEvent } from "./tree/memory/Events.ts"

export type {
  Options as BackupOptions,
  Progress as BackupProgress,
  Report as BackupReport
} from "./Backup.ts"
export type { Options } from "./Options.ts"
export { config } from "./Options.ts"
export type { Damage, Expired, PageEvent, Progress, Relocated, Report, Shortage, Trigger }

/** What happens inside a store, as it happens. */
export type Event =
  | { readonly _tag: "Checkpoint"; readonly report: Report }
  /** Large values were moved out of old segments of the log, or could not be. */
  | { readonly _tag: "Relocation"; readonly report: Relocated }
  /** Records that had expired were removed, or a leaf with some could not be read. */
  | { readonly _tag: "Expiry"; readonly report: Expired }
  /** Commits that add are refused for want of space, or are taken again. */
  | { readonly _tag: "Shortage"; readonly report: Shortage }

/** Events kept for a subscriber that is behind; older ones are dropped. */
const eventsKept = 256
const pageEventsKept = 4_096

/** A durable, ordered, transactional store. */
export class Store extends Context.Service<Store, {
  /** Exclusive bound of what new snapshots see. */
  readonly visibleLsn: Effect.Effect<number>
  /** Exclusive bound of what survives a power cut. */
  readonly durableLsn: Effect.Effect<number>
  /** Waits until everything below an LSN is durable. */
  readonly awaitDurable: (lsn: number) => Effect.Effect<void, StoreError>
  /** Takes a checkpoint and waits for it. Not needed for durability: it shortens recovery and frees the log. */
  readonly checkpoint: Effect.Effect<Report, StoreError>
  /**
   * Copies the store into a directory that is empty, or not there yet, while it is in use. The copy is opened as any
   * store is; it has every commit that was acknowledged when it was asked for, with versions and sessions. Checkpoints
   * wait until it is done: the log grows meanwhile, and commits wait where it has come to `checkpoint.hardLogBytes`.
   * What it has made when it fails is removed. Fails with `InvalidOptions` where the directory is not empty or in that
   * of the store, `Locked` where somebody else makes a store there, `ReadOnly`, `DiskFailed` and `Closed`.
   */
  readonly backup: (to: string, options?: Backup.Options) => Effect.Effect<Backup.Report, StoreError>
  /**
   * What happens from now on, up to the checkpoint at closing. Ends when the store is closed; who falls behind loses
   * the oldest.
   */
  readonly events: Stream.Stream<Event>
  /**
   * What happens to pages from now on: changes of the structure, and what goes between memory and disk. With counts,
   * never with keys. Costs nothing while nobody listens; who falls behind loses the oldest. Ends when the
   * store is closed.
   */
  readonly pageEvents: Stream.Stream<PageEvent>
  /**
   * Sizes and counts of everything that takes space or time. Looks at every record in a mini-page, some millions in a
   * second, and holds the event loop while it does: for people and tests, not for a loop. Metrics do without.
   */
  readonly stat: Effect.Effect<Inspect.Stat>
  /** The trees leaf by leaf, and the regions of the log. */
  readonly inspect: Effect.Effect<Inspect.Inspection, StoreError>
  /** For the other modules of this package. */
  readonly machine: Machine.Machine
}>()("heartwood/Store") {}

/** Receives the progress of recovery while a store opens: at each group of the log that is replayed. */
export const Recovery: Context.Reference<(progress: Progress) => Effect.Effect<void>> = Context.Reference(
  "heartwood/Store/Recovery",
  { defaultValue: () => (_progress: Progress) => Effect.void }
)

/** Opens the store on whatever `Disk` is provided. */
export const make = (
  options: Options,
  mode: Machine.Settings["mode"] = "readWrite"
): Effect.Effect<Store["Service"], StoreError, Disk | Scope.Scope> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const feed = new Feed()
    // Before the machine has its own, so that it runs after: closing takes a checkpoint, and tells of it.
    yield* Effect.addFinalizer(() => Effect.sync(() => feed.end()))
    const listeners = new Set<(event: Event) => void>()
    const tell = (event: Event): void => {
      for (const listener of listeners) listener(event)
    }
    const [took, machine] = yield* Effect.timed(Machine.open({
      directory: options.path,
      mode,
      durability: options.durability ?? "synced",
      buffer: options.buffer ?? "miniPages",
      limits: yield* check(options),
      systemCache: options.systemCache ?? "use",
      syncThread: options.syncThread ?? "pool",
      recovery: yield* Recovery,
      checkpointed: (report) => tell({ _tag: "Checkpoint", report }),
      relocated: (report) => tell({ _tag: "Relocation", report }),
      expired: (report) => tell({ _tag: "Expiry", report }),
      shortage: (report) => tell({ _tag: "Shortage", report })
    })).pipe(Effect.withSpan(Telemetry.Span.recovery))
    yield* Telemetry.register(options.path, series(machine, Duration.toSeconds(took)))
    return {
      visibleLsn: Effect.sync(machine.visible),
      durableLsn: Effect.sync(() => machine.parts.tail.durableLsn),
      awaitDurable: (lsn) => Effect.suspend(() => machine.awaitDurable(checkLsn(lsn))),
      checkpoint: machine.checkpoint,
      backup: (to, own) => Backup.backup(machine, disk, { ...own, from: options.path, to }),
      events: feed.stream(eventsKept, (listener) => {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      }),
      pageEvents: feed.stream(pageEventsKept, (listener) => machine.tree.events.listen(listener)),
      stat: Effect.sync(() => Inspect.stat(machine)),
      inspect: Effect.suspend(() => {
        const failure = machine.unavailable()
        return failure === undefined ? Inspect.inspect(machine) : Effect.fail(failure)
      }),
      machine
    }
  })

/** A store on any disk. */
export const layerDisk = (options: Options): Layer.Layer<Store, StoreError, Disk> =>
  Layer.effect(Store, make(options))

/** A store in a directory of this machine. */
export const layer = (options: Options): Layer.Layer<Store, StoreError> =>
  Layer.provide(layerDisk(options), NodeDisk.layer)

/** The same, with options from configuration; `Store.config` reads all of them from `HEARTWOOD_…`. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Store, StoreError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(ConfigModule.unwrap(options), layer))

/**
 * What is durable now in a store that another process may have open: its newest checkpoint and the log above.
 *
 * Takes no lock, writes nothing, sees nothing committed later. Pages that the owner's later checkpoints
 * overwrite are seen as `Corrupted`, never as something else: open it again. Pages changed by the log above the
 * checkpoint stay in memory, which bounds that log by `memory`.
 */
export const layerReadOnly = (options: Options): Layer.Layer<Store, StoreError> =>
  Layer.provide(
    Layer.effect(Store, make(options, "readOnly").pipe(Effect.retry({ times: 4, while: isPassing }))),
    NodeDisk.layer
  )

/** The owner may have moved on while the files were being opened. */
const isPassing = ({ reason }: StoreError): boolean =>
  reason._tag === "Corrupted" || reason._tag === "DiskFailed" && reason.code === "ENOENT"

/** A store in memory: everything but survival. */
export const layerMemory: Layer.Layer<Store, StoreError> = Layer.provide(
  layerDisk({ path: "/memory", durability: "memory" }),
  MemoryDisk.layer
)
