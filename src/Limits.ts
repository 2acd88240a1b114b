/**
 * Every limit of a store: its unit, its range, its default, and how it depends on the others.
 *
 * Each resource has one, and at it there is back-pressure or a typed error that names it. What was asked for
 * is checked as a whole, and every contradiction is reported at once. Defaults follow what was asked for, so
 * that naming one limit seldom takes naming another. Plain numbers only: sizes and durations in words are
 * turned into them by whoever opens a store.
 */

/** When a commit is acknowledged: applied, handed to the operating system, or synced. */
export type Durability = "memory" | "buffered" | "synced"

/** What is kept in memory of a leaf that does not fit as a whole: its records in use and its changes, or nothing. */
export type BufferMode = "miniPages" | "pages"

/** Whether a file goes through the system's cache: always, only where nothing else works, never. */
export type SystemCache = "use" | "avoid" | "bypass"

/** Where the log is written and synced: in a thread of the pool, or in the one that calls, which waits for the disk. */
export type SyncThread = "pool" | "caller"

/** What passes by the system's cache begins and ends on multiples of this: no block of a device is larger. */
export const directBytes = 4_096

interface Range {
  readonly unit: "bytes" | "records" | "writes" | "messages" | "milliseconds" | "percent" | "items"
  readonly least: number
  readonly most: number
  /** The values are the powers of two from `least` to `most`. */
  readonly powerOfTwo?: true
  readonly purpose: string
}

const KiB = 1_024
const MiB = 1_024 * KiB
const GiB = 1_024 * MiB
const TiB = 1_024 * GiB
/** The longest that a timer of Node waits. */
const timer = 2 ** 31 - 1
const years = 10 * 365 * 86_400_000

const range = (unit: Range["unit"], least: number, most: number, purpose: string): Range => ({
  unit,
  least,
  most,
  purpose
})

/**
 * What each limit may be by itself. The most that keys, values and transactions may be is the log's format,
 * the most of an arena is where byte indices become slow, and the most of a page is where its 16-bit offsets
 * end.
 */
export const ranges = {
  pageBytes: {
    ...range("bytes", KiB, 32 * KiB, "size of a page, in memory and on disk; fixed when the store is made"),
    powerOfTwo: true
  },
  keyBytes: range("bytes", 16, 1_024, "an encoded key"),
  valueBytes: range("bytes", 1, 64 * MiB, "an encoded value"),
  inlineValueBytes: range("bytes", 0, 8 * KiB, "a value kept in its leaf; larger ones stay in the log"),
  transactionBytes: range("bytes", 2 * KiB, 256 * MiB, "keys and values of one transaction held in memory"),
  applyInOneSlice: range("writes", 1, 1_048_576, "writes of one transaction applied without a pause"),
  memoryBytes: range("bytes", 8 * KiB, TiB, "pages, mini-pages, staging and workspaces together"),
  arenaBytes: range("bytes", 8 * KiB, GiB, "one piece of that memory"),
  stagingBytes: range("bytes", 2 * KiB, 16 * GiB, "page images on their way to the disk"),
  mergeWorkspaces: range("items", 1, 1_024, "merges at a time, two pages each"),
  loadsInFlight: range("items", 1, 65_536, "page reads at a time, one page each"),
  promotionPercent: range(
    "percent",
    0,
    100,
    "reads from disk of keys not read lately that leave a copy of the record in memory"
  ),
  secondChancePercent: range(
    "percent",
    1,
    50,
    "part of the buffer before its head where use moves a page to the tail"
  ),
  operandChain: range("records", 1, 65_536, "operands of one key before they are folded"),
  segmentBytes: range("bytes", 4 * KiB, 256 * MiB, "one file of the log"),
  reserveBytes: range("bytes", 0, TiB, "disk set aside for those who make room on a full one"),
  undurableBytes: range("bytes", KiB, GiB, "log that is visible and not yet synced"),
  "checkpoint.logBytes": range(
    "bytes",
    8 * KiB,
    TiB,
    "log after which a checkpoint starts; what recovery reads"
  ),
  "checkpoint.hardLogBytes": range("bytes", 16 * KiB, 4 * TiB, "log at which writers wait for a checkpoint"),
  "checkpoint.intervalMillis": range(
    "milliseconds",
    1,
    timer,
    "longest time between checkpoints while there are commits"
  ),
  "checkpoint.leafRecords": range(
    "records",
    1,
    2 ** 31,
    "changes of one leaf after which a checkpoint starts"
  ),
  "checkpoint.records": range("records", 1, 2 ** 40, "changes after which a checkpoint starts"),
  streamBytes: range("bytes", KiB, 4 * TiB, "a transaction that is written as pieces"),
  streamAgeMillis: range("milliseconds", 1, timer, "age of a transaction that is written as pieces"),
  cursorLogBytes: range("bytes", 0, 1_024 * TiB, "log kept for named cursors"),
  openSnapshots: range("items", 1, 1_048_576, "snapshots and transactions open at a time"),
  versionsBytes: range("bytes", 64 * KiB, TiB, "older versions held in memory for open snapshots"),
  snapshotDiskBytes: range(
    "bytes",
    0,
    1_024 * TiB,
    "older versions on disk, before the oldest snapshot expires"
  ),
  conflictWindowBytes: range("bytes", KiB, 16 * GiB, "commits remembered to validate open transactions"),
  turnMillis: range("milliseconds", 1, timer, "an exclusive turn of a transaction that lost twice"),
  sessions: range("items", 1, 16_777_216, "sessions remembered"),
  sessionIdleMillis: range("milliseconds", 1, years, "time after which an unused session is ended"),
  mailbox: range("messages", 1, 1_048_576, "requests waiting for one actor"),
  markDelayMillis: range("milliseconds", 0, timer, "idle time after which the log marks what is durable"),
  sweepMillis: range("milliseconds", 1, timer, "time between two looks for records that have expired")
} satisfies Record<string, Range>

export type Name = keyof typeof ranges
const names = Object.keys(ranges) as ReadonlyArray<Name>

type Flat = { readonly [N in Name as N extends `${string}.${string}` ? never : N]: number }
type Nested<N extends string> = N extends `checkpoint.${infer Rest}` ? Rest : never
type Checkpoint = { readonly [N in Nested<Name>]: number }

/** Limits that hold together. */
export type Limits = Flat & { readonly checkpoint: Checkpoint }
/** Those that are to differ from their defaults. */
export type Options = { readonly [N in keyof Flat]?: number | undefined } & {
  readonly checkpoint?: { readonly [N in keyof Checkpoint]?: number | undefined }
}

type Numbers = { readonly [N in Name]: number }
type Given = { readonly [N in Name]?: number | undefined }

/**
 * Bytes of a page before its records, and beside key and value of a record: head, slot, lengths, version,
 * padding.
 */
const pageHeaderBytes = 44
const recordOverheadBytes = 32
/** What stands in a leaf for a value that is kept in the log only: LSN, length, checksum. */
const valuePointerBytes = 16
/** Pages that must fit whatever else there is: a path of inner nodes and two leaves. */
const residentPages = 4

/**
 * The longest key of a page: two fences and two records with the longest keys and pointers to their values
 * fit, so that a full page can always be split.
 */
export const keyBytesOf = (pageBytes: number): number =>
  Math.floor((pageBytes - pageHeaderBytes - 2 * (recordOverheadBytes + valuePointerBytes)) / 32) * 8

/**
 * The most that one record takes of a leaf, beside two of the longest fences and another such record. A value
 * that would make its record larger is kept in the log only, even one below `inlineValueBytes`.
 */
export const recordBytesOf = (limits: { readonly pageBytes: number; readonly keyBytes: number }): number =>
  Math.floor((limits.pageBytes - pageHeaderBytes - 2 * (limits.keyBytes + 3 & ~3)) / 8) * 4

/**
 * The most that a key and its value, each padded to words, may take for the value to be kept in its leaf. Counts the
 * longest keys that the pages allow, not those of `keyBytes`: a store may be opened with longer ones tomorrow.
 */
export const inlinePairBytesOf = (pageBytes: number): number =>
  recordBytesOf({ pageBytes, keyBytes: Math.min(ranges.keyBytes.most, keyBytesOf(pageBytes)) }) -
  recordOverheadBytes

/** What is set aside of the memory before the buffer gets the rest. */
const reservedBytes = (limits: Numbers): number =>
  limits.stagingBytes + (2 * limits.mergeWorkspaces + limits.loadsInFlight + residentPages) * limits.pageBytes

const powerOfTwoBelow = (n: number): number => 2 ** Math.floor(Math.log2(n))
const between = (least: number, n: number, most: number): number =>
  Math.max(least, Math.min(Math.floor(n), most))

/** What was given, and for the rest what goes with it. */
function completed(given: Given): Numbers {
  return { ...pagesAndMemory(given), ...logAndCheckpoint(given), ...waiting(given) }
}

const defaultMemoryBytes = 256 * MiB

function pagesAndMemory(given: Given) {
  const pageBytes = given.pageBytes ?? 4 * KiB
  const keyBytes = given.keyBytes ?? Math.min(1_024, keyBytesOf(pageBytes))
  const transactionBytes = given.transactionBytes ?? 65 * MiB
  const memoryBytes = given.memoryBytes ?? defaultMemoryBytes
  const pages = memoryBytes / pageBytes
  const inlineBytes = Math.min(pageBytes / 4, recordBytesOf({ pageBytes, keyBytes }) - recordOverheadBytes)
  return {
    pageBytes,
    keyBytes,
    valueBytes: given.valueBytes ?? between(1, transactionBytes - keyBytes, 64 * MiB),
    inlineValueBytes: given.inlineValueBytes ?? Math.max(0, inlineBytes),
    transactionBytes,
    applyInOneSlice: given.applyInOneSlice ?? 1_024,
    memoryBytes,
    arenaBytes: given.arenaBytes ?? Math.min(memoryBytes, GiB),
    stagingBytes: given.stagingBytes ?? between(2 * pageBytes, memoryBytes / 16, GiB),
    mergeWorkspaces: given.mergeWorkspaces ?? between(1, pages / 64, 4),
    loadsInFlight: given.loadsInFlight ?? between(1, pages / 16, 64),
    promotionPercent: given.promotionPercent ?? 5,
    secondChancePercent: given.secondChancePercent ?? 10,
    operandChain: given.operandChain ?? 64,
    versionsBytes: given.versionsBytes ?? between(64 * KiB, memoryBytes / 8, TiB),
    conflictWindowBytes: given.conflictWindowBytes ?? between(KiB, memoryBytes / 16, 16 * MiB)
  }
}

/** Checkpoints start at a quarter of where writers wait, and free several whole segments. */
function logAndCheckpoint(given: Given) {
  const memoryBytes = given.memoryBytes ?? defaultMemoryBytes
  const least = Math.max(
    between(64 * MiB, memoryBytes / 4, GiB),
    2 * (given.segmentBytes ?? 0),
    given.undurableBytes ?? 0
  )
  const hard = given["checkpoint.hardLogBytes"]
  const logBytes = given["checkpoint.logBytes"] ??
    (hard === undefined ? least : between(8 * KiB, hard / 4, TiB))
  const hardLogBytes = hard ?? Math.max(4 * logBytes, given.streamBytes ?? 0)
  const records = given["checkpoint.records"] ??
    Math.max(1_048_576, Math.floor(logBytes / 64), given["checkpoint.leafRecords"] ?? 0)
  const segmentBytes = given.segmentBytes ?? between(4 * KiB, powerOfTwoBelow(logBytes / 4), 16 * MiB)
  return {
    segmentBytes,
    reserveBytes: given.reserveBytes ?? between(64 * KiB, segmentBytes + segmentBytes / 8, TiB),
    undurableBytes: given.undurableBytes ?? between(KiB, Math.min(logBytes / 8, memoryBytes / 16), 8 * MiB),
    "checkpoint.logBytes": logBytes,
    "checkpoint.hardLogBytes": hardLogBytes,
    "checkpoint.intervalMillis": given["checkpoint.intervalMillis"] ?? 300_000,
    "checkpoint.leafRecords": given["checkpoint.leafRecords"] ?? Math.min(65_536, records),
    "checkpoint.records": records,
    streamBytes: given.streamBytes ?? Math.floor(hardLogBytes / 2),
    streamAgeMillis: given.streamAgeMillis ?? 60_000,
    cursorLogBytes: given.cursorLogBytes ?? 4 * GiB
  }
}

const waiting = (given: Given) => ({
  openSnapshots: given.openSnapshots ?? 10_000,
  snapshotDiskBytes: given.snapshotDiskBytes ?? 4 * GiB,
  turnMillis: given.turnMillis ?? 1_000,
  sessions: given.sessions ?? 10_000,
  sessionIdleMillis: given.sessionIdleMillis ?? 7 * 86_400_000,
  mailbox: given.mailbox ?? 1_024,
  markDelayMillis: given.markDelayMillis ?? 10,
  sweepMillis: given.sweepMillis ?? 60_000
})

/** A relation between limits: which ones, what must hold, and what to do where it does not. */
interface Relation {
  readonly between: ReadonlyArray<Name>
  readonly holds: (limits: Numbers) => boolean
  readonly advice: (limits: Numbers) => string
}

const relations: ReadonlyArray<Relation> = [
  {
    between: ["keyBytes", "pageBytes"],
    holds: (limits) => limits.keyBytes <= keyBytesOf(limits.pageBytes),
    advice: (limits) =>
      `a page must hold two fences and two records: make keyBytes at most ${keyBytesOf(limits.pageBytes)}, `
      + "or pageBytes larger"
  },
  {
    between: ["inlineValueBytes", "pageBytes", "keyBytes"],
    holds: (limits) => limits.inlineValueBytes + recordOverheadBytes <= recordBytesOf(limits),
    advice: (limits) =>
      "a page must hold two such records beside its fences: make inlineValueBytes at most "
      + `${recordBytesOf(limits) - recordOverheadBytes}, or pageBytes larger`
  },
  {
    between: ["transactionBytes", "keyBytes", "valueBytes"],
    holds: (limits) => limits.transactionBytes >= limits.keyBytes + limits.valueBytes,
    advice: () =>
      "a transaction must hold the largest record: make transactionBytes at least keyBytes + valueBytes"
  },
  {
    between: ["memoryBytes", "stagingBytes", "mergeWorkspaces", "loadsInFlight", "pageBytes"],
    holds: (limits) => limits.memoryBytes >= reservedBytes(limits),
    advice: (limits) =>
      `staging, two pages for each merge, one for each load and ${residentPages} more need `
      + `${reservedBytes(limits)} bytes: make memoryBytes larger, or one of the others smaller`
  },
  {
    between: ["stagingBytes", "pageBytes"],
    holds: (limits) => limits.stagingBytes >= 2 * limits.pageBytes,
    advice: () => "a split writes two pages: make stagingBytes at least 2 × pageBytes"
  },
  {
    between: ["arenaBytes", "memoryBytes"],
    holds: (limits) => limits.arenaBytes <= limits.memoryBytes,
    advice: () => "an arena is a piece of the memory: make arenaBytes at most memoryBytes"
  },
  {
    between: ["arenaBytes", "pageBytes"],
    holds: (limits) => limits.arenaBytes >= residentPages * limits.pageBytes,
    advice: () => `an arena must hold a path of pages: make arenaBytes at least ${residentPages} × pageBytes`
  },
  {
    between: ["checkpoint.logBytes", "segmentBytes"],
    holds: (limits) => limits["checkpoint.logBytes"] >= 2 * limits.segmentBytes,
    advice: () => "a checkpoint frees whole segments: make checkpoint.logBytes at least 2 × segmentBytes"
  },
  {
    between: ["checkpoint.hardLogBytes", "checkpoint.logBytes"],
    holds: (limits) => limits["checkpoint.hardLogBytes"] >= 2 * limits["checkpoint.logBytes"],
    advice: () =>
      "writers go on while a checkpoint runs: make checkpoint.hardLogBytes at least 2 × checkpoint.logBytes"
  },
  {
    between: ["checkpoint.leafRecords", "checkpoint.records"],
    holds: (limits) => limits["checkpoint.leafRecords"] <= limits["checkpoint.records"],
    advice: () => "a leaf changes no more than all: make checkpoint.leafRecords at most checkpoint.records"
  },
  {
    between: ["undurableBytes", "checkpoint.logBytes"],
    holds: (limits) => limits.undurableBytes <= limits["checkpoint.logBytes"],
    advice: () => "what is not synced is part of the log: make undurableBytes at most checkpoint.logBytes"
  },
  {
    between: ["streamBytes", "checkpoint.hardLogBytes"],
    holds: (limits) => limits.streamBytes <= limits["checkpoint.hardLogBytes"],
    advice: () => "an open stream keeps its log: make streamBytes at most checkpoint.hardLogBytes"
  }
]

export type Resolved =
  | { readonly _tag: "Valid"; readonly limits: Limits }
  | { readonly _tag: "Invalid"; readonly problems: ReadonlyArray<string> }

/**
 * Completes and checks limits; every problem is one sentence that names the limits and says what to do. `worded` has
 * such sentences for limits that were asked for in other words, and are no numbers because of that.
 */
export function resolve(options: Options = {}, worded: ReadonlyMap<string, string> = new Map()): Resolved {
  const { checkpoint, ...plain } = options
  const given = new Map<string, unknown>(Object.entries(plain))
  for (const [name, value] of Object.entries(checkpoint ?? {})) given.set(`checkpoint.${name}`, value)
  const problems: Array<string> = []
  const sound: { [N in Name]?: number } = {}
  const unsound = new Set<Name>()
  for (const [name, value] of given) {
    if (value === undefined) continue
    if (!isName(name)) problems.push(`there is no limit ${name}: correct its name`)
    else if (fits(ranges[name], value)) sound[name] = value
    else {
      unsound.add(name)
      problems.push(worded.get(name) ?? `${name} is ${String(value)}: make it ${wording(name)}`)
    }
  }
  const numbers = completed(sound)
  for (const relation of relations) {
    // What a wrong limit was replaced by says nothing about what was asked for.
    if (relation.between.some((name) => unsound.has(name)) || relation.holds(numbers)) continue
    const values = relation.between.map((name) => `${name} is ${numbers[name]}`).join(", ")
    problems.push(`${values}, but ${relation.advice(numbers)}`)
  }
  return problems.length === 0 ? { _tag: "Valid", limits: nested(numbers) } : { _tag: "Invalid", problems }
}

const isName = (name: string): name is Name => Object.hasOwn(ranges, name)

const fits = (range: Range, value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= range.least && value <= range.most
  && (range.powerOfTwo === undefined || Math.log2(value) % 1 === 0)

/** What a limit may be. */
export const wording = (name: Name): string => {
  const { least, most, powerOfTwo, unit }: Range = ranges[name]
  return `${
    powerOfTwo === undefined ? "a whole number" : "a power of two"
  } of ${unit} from ${least} to ${most}`
}

function nested(numbers: Numbers): Limits {
  const flat: Record<string, unknown> = {}
  const checkpoint: Record<string, number> = {}
  for (const name of names) {
    if (name.startsWith("checkpoint.")) checkpoint[name.slice("checkpoint.".length)] = numbers[name]
    else flat[name] = numbers[name]
  }
  return { ...flat, checkpoint } as unknown as Limits
}

/** The defaults; a store that is opened without options has these. */
export const defaults: Limits = nested(completed({}))
