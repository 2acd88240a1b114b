/**
 * The numbers of a store for whoever collects metrics: each is read where it is counted, when somebody looks.
 *
 * I1 Looking changes nothing and takes microseconds; what takes a walk over records is for `Inspect.stat` alone.
 */
import type { Machine } from "./Machine.ts"
import type { NameOf, Series } from "./Telemetry.ts"
import { Attribute, Distribution, metric } from "./Telemetry.ts"
import type { ResidentPages } from "./tree/memory/Resident.ts"
import { residentPages } from "./tree/memory/Resident.ts"
import { owners } from "./tree/past/Pins.ts"

type Attributes = Readonly<Record<string, string>>

const number = (
  metric: NameOf<"counter" | "gauge">,
  read: () => number,
  attributes: Attributes = {}
): Series => ({
  metric,
  attributes,
  read
})

const durations = (metric: NameOf<"histogram">, of: Distribution, attributes: Attributes = {}): Series => ({
  metric,
  attributes,
  read: () => of
})

/** One series for each of a set of counters. */
const each = <K extends string>(
  name: NameOf<"counter" | "gauge">,
  attribute: string,
  counters: Readonly<Record<K, number>>
): ReadonlyArray<Series> =>
  Object.keys(counters).map((key) => number(name, () => counters[key as K], { [attribute]: key }))

/** All of them, of a store that took so many seconds to be opened. */
export const series = (machine: Machine, openingSeconds: number): ReadonlyArray<Series> => [
  ...commits(machine),
  ...reads(machine),
  ...buffer(machine),
  ...files(machine),
  ...checkpoints(machine),
  opening(machine, openingSeconds),
  ...snapshots(machine),
  ...sessions(machine),
  ...space(machine),
  ...actors(machine)
]

const commits = ({ parts: { expiry, tail, wal }, visible }: Machine): ReadonlyArray<Series> => [
  number(metric("tx.commits"), () => wal.counters.commits),
  number(metric("tx.bytes"), () => wal.counters.commitBytes),
  number(metric("tx.conflicts"), () => wal.counters.conflicts),
  number(metric("tx.retries"), () => wal.watch.woken),
  number(metric("tx.turns"), wal.turns),
  number(metric("expire.removed"), () => expiry.counters.removed),
  number(metric("lsn.visible"), visible),
  number(metric("lsn.durable"), () => tail.durableLsn),
  durations(metric("commit.duration"), wal.span.commits),
  durations(metric("group.size"), wal.span.sizes),
  durations(metric("sync.duration"), wal.span.syncs, { [Attribute.file]: "log" })
]

const reads = ({ parts: { buffer }, tree }: Machine): ReadonlyArray<Series> => {
  const { loads } = buffer.counters
  const { kind, purpose } = Attribute
  return [
    ...each(metric("read.answers"), kind, tree.hits),
    number(metric("read.misses"), () => tree.misses),
    number(metric("read.bytes"), () => tree.answeredBytes),
    ...each(metric("record.promotions"), kind, tree.promoted),
    ...each(metric("page.loads"), purpose, loads.by)
  ]
}

const buffer = ({ limits: { pageBytes }, parts, tree }: Machine): ReadonlyArray<Series> => {
  const { arena } = tree.pages
  const { evicted } = parts.buffer.counters
  const { kind, purpose } = Attribute
  const resident = (content: string, read: (pages: ResidentPages) => number): Series =>
    number(metric("page.cache.resident"), () => read(residentPages(tree.pages)), { [kind]: content })
  return [
    number(metric("page.cache.limit"), () => arena.blocks * pageBytes),
    number(metric("page.cache.usage"), () => (arena.blocks - arena.freeBlocks) * pageBytes),
    resident("inner", ({ inner }) => inner),
    resident("leaf", ({ leaves }) => leaves),
    resident("guest", ({ guests }) => guests),
    resident("minipage", ({ frames }) => frames),
    number(metric("page.merges"), () => tree.merged.merges),
    number(metric("page.evictions"), () => evicted.leaves, { [kind]: "leaf" }),
    number(metric("page.evictions"), () => evicted.minis, { [kind]: "minipage" }),
    number(metric("page.spared"), () => evicted.spared),
    ...each(metric("page.writes"), purpose, parts.flush.counters.by)
  ]
}

const files = (
  { limits: { pageBytes }, parts, tree: { pages, versions } }: Machine
): ReadonlyArray<Series> => {
  const { buffer, flush, scratch, segments, slots, wal } = parts
  const { direction, file } = Attribute
  const io = (way: "read" | "write", name: string, read: () => number): Series =>
    number(metric("io"), read, { [direction]: way, [file]: name })
  const usage = (name: string, read: () => number): Series =>
    number(metric("disk.usage"), read, { [file]: name })
  return [
    usage("log", () => segments.fileBytes),
    usage("pages", () => slots.slots * pageBytes),
    usage("scratch", () => versions.spill.diskBytes),
    number(metric("staging.usage"), () => flush.held() + pages.captured.bytes),
    io("read", "log", () => segments.traffic.readBytes),
    io("write", "log", () => wal.counters.groupBytes),
    io("read", "pages", () => buffer.counters.loads.loadBytes),
    io("write", "pages", () => flush.counters.bytes),
    io("read", "scratch", () => scratch.counters.readBytes),
    io("write", "scratch", () => scratch.counters.writeBytes)
  ]
}

const checkpoints = ({ now, parts: { checkpoint } }: Machine): ReadonlyArray<Series> => [
  ...Object.entries(checkpoint.durations).map(([trigger, of]) =>
    durations(metric("checkpoint.duration"), of, { [Attribute.checkpointTrigger]: trigger })
  ),
  number(metric("checkpoint.age"), () => (now() - checkpoint.cutMillis()) / 1_000),
  number(metric("checkpoint.failures"), () => checkpoint.counters.failures)
]

/** Happens once, and is a histogram all the same: whoever collects it adds up the lives of many stores. */
const opening = ({ parts: { damages } }: Machine, seconds: number): Series => {
  const took = new Distribution(metric("recovery.duration"))
  took.record(seconds)
  const outcome = damages.all.length === 0 ? "sound" : "repaired"
  return durations(metric("recovery.duration"), took, { [Attribute.outcome]: outcome })
}

const snapshots = ({ now, tree: { versions } }: Machine): ReadonlyArray<Series> => {
  const { pins, spill } = versions
  const { kind, owner } = Attribute
  const ageOf = (one: typeof owners[number]): number => {
    const oldest = pins.oldestOf(one)
    return oldest === undefined ? 0 : (now() - oldest.since) / 1_000
  }
  return [
    ...owners.flatMap((one) => [
      number(metric("snapshot.open"), () => pins.owners[one], { [owner]: one }),
      number(metric("snapshot.oldest.age"), () => ageOf(one), { [owner]: one })
    ]),
    number(metric("versions.usage"), () => versions.bytes, { [kind]: "memory" }),
    number(metric("versions.usage"), () => spill.diskBytes, { [kind]: "disk" })
  ]
}

const sessions = ({ limits, parts: { sessions } }: Machine): ReadonlyArray<Series> => [
  number(metric("sessions.usage"), () => sessions.opened, { [Attribute.kind]: "open" }),
  number(metric("sessions.usage"), () => sessions.idling, { [Attribute.kind]: "idle" }),
  number(metric("sessions.limit"), () => limits.sessions)
]

const space = ({ now, parts: { reserve } }: Machine): ReadonlyArray<Series> => {
  const { shortage } = reserve
  const age = () => (shortage.now === undefined ? 0 : (now() - shortage.now.sinceMillis) / 1_000)
  return [
    number(metric("space.free"), () => Math.min(reserve.sizes.free, Number.MAX_SAFE_INTEGER)),
    number(metric("space.reserve"), () => reserve.sizes.reserve),
    number(metric("space.missing"), () => shortage.now?.missing ?? 0),
    number(metric("space.shortage.age"), age),
    number(metric("space.shortages"), () => shortage.counters.shortages),
    number(metric("space.refusals"), () => shortage.counters.refusals)
  ]
}

const actors = ({ parts: { buffer, checkpoint, flush, wal } }: Machine): ReadonlyArray<Series> =>
  [wal, buffer, flush, checkpoint].flatMap(({ capacity, loopTime, name, waiting }) => {
    const attributes = { [Attribute.actor]: name }
    return [
      number(metric("actor.mailbox.usage"), waiting, attributes),
      number(metric("actor.mailbox.limit"), () => capacity, attributes),
      durations(metric("actor.slice.duration"), loopTime.durations, attributes)
    ]
  })
