/**
 * The catalogue: every span, attribute and metric that a store speaks of, in one place.
 *
 * Names are part of what users build on (dashboards, alerts), so none is written down anywhere else, and none
 * changes its meaning. They follow OpenTelemetry's conventions for databases where those have a word, and
 * begin with `heartwood.` where they do not. Keys and values never appear in any of them.
 *
 * Spans stand at boundaries, one for each transaction, scan, group and phase; metrics are plain numbers that
 * their owners add up anyway, read only when somebody looks. One update of a metric per operation was
 * rejected: it costs more than the operation.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"

/** Names of spans. Those of a checkpoint and a recovery are children of the first one. */
export const Span = {
  /** A transaction, from its start to its acknowledgement; child of the caller's. */
  transact: "transact",
  /** One group of the log; linked to the transactions in it. */
  commitGroup: "heartwood.commit.group",
  checkpoint: "heartwood.checkpoint",
  checkpointCut: "heartwood.checkpoint.cut",
  checkpointDrain: "heartwood.checkpoint.drain",
  checkpointFlush: "heartwood.checkpoint.flush",
  checkpointSeal: "heartwood.checkpoint.seal",
  checkpointPublish: "heartwood.checkpoint.publish",
  checkpointPrune: "heartwood.checkpoint.prune",
  /** Opening a store. */
  recovery: "heartwood.recovery",
  recoverySuperblock: "heartwood.recovery.superblock",
  recoveryReplay: "heartwood.recovery.replay",
  recoveryVerify: "heartwood.recovery.verify",
  /** Copying the store. */
  backup: "heartwood.backup",
  /** Removing what expired. */
  expire: "heartwood.expire",
  /** Building indexes, child of the caller's; its transactions are spans in it. */
  indexBuild: "heartwood.index.build"
} as const

/** What happened inside a span. */
export const Event = {
  /** A transaction lost and runs again. */
  conflict: "conflict",
  /** `Tx.retry` waits for a change. */
  retryParked: "retry.parked",
  retryWoken: "retry.woken"
} as const

/** Names of attributes of spans and metrics. */
export const Attribute = {
  /** Always `"heartwood"`. */
  system: "db.system.name",
  /** The store. */
  namespace: "db.namespace",
  /** The keyspace. */
  collection: "db.collection.name",

  actor: "heartwood.actor",
  direction: "heartwood.direction",
  file: "heartwood.file",
  kind: "heartwood.kind",
  outcome: "heartwood.outcome",
  /** Who reads the past: `read`, `stream`, `transaction` or `snapshot`. */
  owner: "heartwood.owner",
  purpose: "heartwood.purpose",

  txAttempts: "heartwood.tx.attempts",
  txReads: "heartwood.tx.reads",
  txWrites: "heartwood.tx.writes",
  txLsn: "heartwood.tx.lsn",
  txDurability: "heartwood.tx.durability",
  txTurn: "heartwood.tx.turn",

  groupSize: "heartwood.group.size",
  groupBytes: "heartwood.group.bytes",
  groupLsnFirst: "heartwood.group.lsn_first",
  groupLsnLast: "heartwood.group.lsn_last",
  groupSyncMillis: "heartwood.group.sync_ms",

  checkpointId: "heartwood.checkpoint.id",
  /** `bytes`, `growth`, `interval`, `request`, `close` or `pressure`. */
  checkpointTrigger: "heartwood.checkpoint.trigger",
  checkpointLsn: "heartwood.checkpoint.lsn",
  checkpointPages: "heartwood.checkpoint.pages",
  checkpointBytes: "heartwood.checkpoint.bytes",
  checkpointReclaimedBytes: "heartwood.checkpoint.reclaimed_bytes",
  checkpointStallMillis: "heartwood.checkpoint.stall_ms",

  recoveryCommits: "heartwood.recovery.commits",
  recoveryBytes: "heartwood.recovery.bytes",
  /** Log that no durable mark vouched for, written again and synced. */
  recoveryAdoptedBytes: "heartwood.recovery.adopted_bytes",
  /** Whether the log ended in a group that is not whole, which was cut off. */
  recoveryTorn: "heartwood.recovery.torn",
  /** The superblock slot that was opened: 0 or 1. */
  recoverySlot: "heartwood.recovery.slot",
  /** Damaged pages and superblocks that were found, and could be done without or rebuilt. */
  recoveryDamage: "heartwood.recovery.damage",

  expireRemoved: "heartwood.expire.removed",
  /** Leaves that were looked at, and those of them that were read from the disk. */
  expireLeaves: "heartwood.expire.leaves",
  expireLoads: "heartwood.expire.loads",

  /** Records that are in the indexes when the build ends. */
  indexRecords: "heartwood.index.records"
} as const

interface Described {
  readonly kind: "counter" | "gauge" | "histogram"
  /** As in the Unified Code for Units of Measure; braces name what is counted. */
  readonly unit: string
  readonly description: string
}

const counter = (unit: string, description: string) => ({ kind: "counter", unit, description }) as const
const gauge = (unit: string, description: string) => ({ kind: "gauge", unit, description }) as const
const histogram = (unit: string, description: string) => ({ kind: "histogram", unit, description }) as const

/** Every metric, with what tells its series apart in parentheses. */
export const metrics = {
  "heartwood.commit.duration": histogram("s", "Time from the first commit of a group to its sync"),
  "heartwood.sync.duration": histogram("s", "Time a sync of the disk took (file)"),
  "heartwood.group.size": histogram("{commit}", "Commits in one group of the log"),
  "heartwood.tx.commits": counter("{commit}", "Commits"),
  "heartwood.tx.bytes": counter("By", "Keys and values of commits"),
  "heartwood.tx.conflicts": counter("{conflict}", "Runs of transactions that lost to another one"),
  "heartwood.tx.retries": counter("{retry}", "Transactions that waited for a change and were woken by it"),
  "heartwood.tx.turns": counter("{turn}", "Exclusive turns"),
  "heartwood.expire.removed": counter("{record}", "Records removed because they had expired"),
  "heartwood.lsn.visible": gauge("By", "Visible LSN"),
  "heartwood.lsn.durable": gauge("By", "Durable LSN"),
  "heartwood.actor.mailbox.usage": gauge("{message}", "Requests waiting (actor)"),
  "heartwood.actor.mailbox.limit": gauge("{message}", "Requests that may wait (actor)"),
  "heartwood.actor.slice.duration": histogram(
    "s",
    "Time an actor held the event loop, but on the stack of who asked it (actor)"
  ),
  "heartwood.disk.usage": gauge("By", "Files of the store on disk (file: log, pages, scratch)"),
  "heartwood.space.free": gauge("By", "Free on the disk when it was looked last"),
  "heartwood.space.reserve": gauge("By", "Space that is set aside for a full disk"),
  "heartwood.space.missing": gauge("By", "Space that is lacking before commits are taken again"),
  "heartwood.space.shortage.age": gauge("s", "Time for which commits have been refused for want of space"),
  "heartwood.space.shortages": counter(
    "{shortage}",
    "Times that commits began to be refused for want of space"
  ),
  "heartwood.space.refusals": counter("{commit}", "Commits refused for want of space"),
  "heartwood.io": counter("By", "Bytes read and written (direction, file)"),
  "heartwood.read.answers": counter(
    "{read}",
    "Reads of keys by where the answer stood (kind: leaf, insert, cache, tombstone, phantom, guest, versions)"
  ),
  "heartwood.read.misses": counter("{read}", "Reads of keys that had to wait for a page"),
  "heartwood.read.bytes": counter("By", "Values, and keys and values of ranges, that were answered"),
  "heartwood.record.promotions": counter(
    "{record}",
    "Records that reads left in mini-pages (kind: cache, phantom)"
  ),
  "heartwood.page.loads": counter(
    "{page}",
    "Pages read from the disk (purpose: read, scan, ahead, write, merge, rescue, upkeep)"
  ),
  "heartwood.page.merges": counter("{page}", "Mini-pages merged into their base pages"),
  "heartwood.page.evictions": counter(
    "{page}",
    "Pages that left memory, unwritten (kind: leaf, minipage)"
  ),
  "heartwood.page.spared": counter("{page}", "Pages that got a second chance"),
  "heartwood.page.writes": counter(
    "{page}",
    "Page images written (purpose: eviction, checkpoint, move)"
  ),
  "heartwood.page.cache.resident": gauge("By", "Buffer by content (kind: inner, leaf, guest, minipage)"),
  "heartwood.page.cache.usage": gauge("By", "Buffer in use"),
  "heartwood.page.cache.limit": gauge("By", "Buffer"),
  "heartwood.staging.usage": gauge("By", "Page images on their way to the disk"),
  "heartwood.checkpoint.duration": histogram("s", "Time a checkpoint took (trigger)"),
  "heartwood.checkpoint.age": gauge("s", "Time since the cut of the newest checkpoint, or the opening"),
  "heartwood.checkpoint.failures": counter("{checkpoint}", "Checkpoints given up"),
  "heartwood.snapshot.open": gauge("{snapshot}", "Open snapshots (owner)"),
  "heartwood.snapshot.oldest.age": gauge("s", "Age of the oldest open snapshot (owner)"),
  "heartwood.versions.usage": gauge("By", "Older versions kept for snapshots (kind: memory, disk)"),
  "heartwood.sessions.usage": gauge("{session}", "Sessions remembered (kind: open, idle)"),
  "heartwood.sessions.limit": gauge("{session}", "Sessions that may be remembered"),
  "heartwood.recovery.duration": histogram("s", "Time that opening the store took (outcome: sound, repaired)")
} as const satisfies Record<string, Described>

export type MetricName = keyof typeof metrics
type Short<N> = N extends `heartwood.${infer Rest}` ? Rest : never

/** A metric's name from what comes behind the prefix. */
export const metric = <N extends Short<MetricName>>(name: N): `heartwood.${N}` => `heartwood.${name}`

export type NameOf<Kind> = {
  [N in MetricName]: (typeof metrics)[N]["kind"] extends Kind ? N : never
}[MetricName]

/** 1 µs to 10 s, in steps of 1, 2.5 and 5. */
export const secondsBoundaries: ReadonlyArray<number> = [
  ...[-6, -5, -4, -3, -2, -1, 0].flatMap((power) => [1, 2.5, 5].map((step) => Number(`${step}e${power}`))),
  10
]
/** 1 to 65,536, doubling. */
export const countBoundaries: ReadonlyArray<number> = Array.from({ length: 17 }, (_, power) => 2 ** power)

const boundariesOf = (name: MetricName): ReadonlyArray<number> =>
  metrics[name].unit === "s" ? secondsBoundaries : countBoundaries

/** What a histogram counts, added up by its owner without an Effect. */
export class Distribution {
  readonly boundaries: ReadonlyArray<number>
  private readonly counts: Float64Array
  private count = 0
  private sum = 0
  private least = 0
  private most = 0

  constructor(metric: NameOf<"histogram">) {
    this.boundaries = boundariesOf(metric)
    this.counts = new Float64Array(this.boundaries.length)
  }

  record(value: number): void {
    let low = 0
    let high = this.counts.length
    while (low < high) {
      const middle = low + high >>> 1
      if (value <= (this.boundaries[middle] ?? Infinity)) high = middle
      else low = middle + 1
    }
    if (low < this.counts.length) this.counts[low] = (this.counts[low] ?? 0) + 1
    if (this.count === 0 || value < this.least) this.least = value
    if (this.count === 0 || value > this.most) this.most = value
    this.count++
    this.sum += value
  }

  /** Buckets are cumulative, as Effect's exporters expect them. */
  state(): Metric.HistogramState {
    let below = 0
    const buckets = this.boundaries.map((
      boundary,
      at
    ): [number, number] => [boundary, below += this.counts[at] ?? 0])
    return { buckets, count: this.count, sum: this.sum, min: this.least, max: this.most }
  }
}

/** One line of numbers: a metric, what tells it from others of its name, and where to look. */
export type Series =
  | {
    readonly metric: NameOf<"counter" | "gauge">
    readonly attributes?: Readonly<Record<string, string>>
    /** Called when somebody looks; must be cheap and must not throw. */
    readonly read: () => number
  }
  | {
    readonly metric: NameOf<"histogram">
    readonly attributes?: Readonly<Record<string, string>>
    readonly read: () => Distribution
  }

/**
 * Shows series to whoever takes a snapshot of Effect's metrics, until the scope closes. `namespace` names the
 * store in all of them; of two stores of one name, the later one is shown.
 */
export const register = (
  namespace: string,
  all: Iterable<Series>
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.contextWith((context) =>
      Effect.sync(() => Array.from(all, (series) => registered(namespace, series, context)))
    ),
    (registrations) =>
      Effect.sync(() => {
        for (const registration of registrations) registration.remove()
      })
  )

type AnyContext = Parameters<typeof Metric.snapshotUnsafe>[0]

function registered(namespace: string, series: Series, context: AnyContext): Metric.Registration {
  const name = series.metric
  const { description, kind, unit } = metrics[name]
  const attributes = { [Attribute.namespace]: namespace, unit, ...series.attributes }
  const options = { description, attributes }
  const read = series.read
  const unused = { update() {}, modify() {} }
  if (kind === "counter") {
    const get = () => ({ count: read() as number, incremental: true })
    return Metric.registerUnsafe(Metric.counter(name, { ...options, incremental: true }), context, {
      get,
      ...unused
    })
  }
  if (kind === "gauge") {
    const get = () => ({ value: read() as number })
    return Metric.registerUnsafe(Metric.gauge(name, options), context, { get, ...unused })
  }
  const get = () => (read() as Distribution).state()
  const boundaries = boundariesOf(name)
  return Metric.registerUnsafe(Metric.histogram(name, { ...options, boundaries }), context, {
    get,
    ...unused
  })
}
