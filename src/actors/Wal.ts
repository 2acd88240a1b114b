/**
 * The write-ahead log's owner: one committer, one total order.
 *
 * It takes commit intents, gives each its LSN by appending its record to the open group, has the Tree apply it, and
 * makes it durable: whatever waits is sealed as one group, written and synced once, and acknowledged from one flat loop.
 *
 * ```
 *            Commit                  settle: somebody waits             answer: Flushed
 *   Idle ─────────────▶ Appended ───────────────────────────▶ Flushing ────────────────▶ Idle, or the next group
 *     │                                                           │ failed
 *     └─ markMillis without a commit ─▶ a mark is written         └────────▶ Poisoned (only reopening clears it)
 * ```
 *
 * I1 LSNs grow with every append; acknowledgements of one durability go out in LSN order.
 * I2 `synced` is acknowledged only after the sync of the log up to the record's end succeeded.
 * I3 After the first failed write or sync nothing is appended, and everybody who waits gets that one error.
 * I4 At most `undurableBytes` of the log are not durable: beyond, commits wait.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { invariant } from "../Invariant.ts"
import type { Durability, Limits } from "../Limits.ts"
import type { Cut } from "../log/Group.ts"
import { encodeDefinition } from "../log/RecordForm.ts"
import type { RecordReader } from "../log/RecordReader.ts"
import { RecordReader as Reader } from "../log/RecordReader.ts"
import type { RecordWriter } from "../log/RecordWriter.ts"
import type { Tail } from "../log/Tail.ts"
import type { StoreError } from "../StoreError.ts"
import { LayoutMismatch, storeError } from "../StoreError.ts"
import * as Actor from "./Actor.ts"
import type { Segments } from "./Segments.ts"

/** What one keyspace of an intent says. Later writes to a key replace earlier ones, so each key occurs once. */
export interface KeyspaceIntent {
  readonly name: string
  readonly layout: string
  readonly cleared: boolean
  readonly dropped: boolean
  readonly size: number
  readonly writes: () => Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array | undefined }>
}

/** A transaction that asks to be committed. */
export interface Intent {
  readonly keyspaces: () => Iterable<KeyspaceIntent>
  readonly durability: Durability
  /** Refused (answered `undefined`) if anything was committed at or above this LSN; absent where nothing was read. */
  readonly base: number | undefined
}

export type Message =
  | {
    readonly _tag: "Commit"
    readonly intent: Intent
    /** The LSN of the record, or `undefined` where the intent's base is stale. */
    readonly done: Actor.Reply<number | undefined, StoreError>
  }
  /** Waits until everything below `lsn` has the durability. */
  | {
    readonly _tag: "Await"
    readonly lsn: number
    readonly durability: Durability
    readonly done: Actor.Reply<void, StoreError>
  }
  | { readonly _tag: "Cut"; readonly done: Actor.Reply<Cut, StoreError> }
  | { readonly _tag: "Mark" }
  | {
    readonly _tag: "Flushed"
    readonly end: number
    readonly synced: boolean
    readonly exit: Exit.Exit<void, StoreError>
  }
  /** The Tree has moved its visible LSN, or the log has become shorter. */
  | { readonly _tag: "Progress" }

export interface Options {
  readonly limits: Limits
  readonly tail: Tail
  readonly segments: Segments
  /** Keyspaces as of the tail: the Tree may be behind. */
  readonly names: Map<string, { readonly id: number; readonly layout: string }>
  readonly nextKeyspaceId: number
  readonly now: () => number
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Hands the record that the reader is at to the Tree. */
  readonly apply: (reader: RecordReader) => void
  /** Hands the cut to the Tree, behind every record below it. */
  readonly cut: (cut: Cut) => void
  readonly visible: () => number
  /** False while the Tree is so far behind, or the log so long, that commits must wait. */
  readonly admits: () => boolean
  readonly durable: (lsn: number) => void
  /** The log failed. */
  readonly poisoned: (error: StoreError) => void
  readonly failed: (cause: unknown) => void
}

interface Waiter {
  readonly bound: number
  readonly complete: (error: StoreError | undefined) => void
}

/** Without waiters the open group is written when it has this many bytes: large calls, little memory. */
const writeBehindBytes = 256 * 1024

export interface Wal extends Actor.Actor<Message> {
  /** Hands an intent over; the answer waits for its LSN, or `undefined` where its base is stale. */
  readonly submit: (intent: Intent) => Effect.Effect<Effect.Effect<number | undefined, StoreError>>
  readonly awaitLsn: (lsn: number, durability: Durability) => Effect.Effect<void, StoreError>
  readonly cut: Effect.Effect<Cut, StoreError>
  /** Something that commits may have waited for has moved: visible LSN, length of the log. */
  readonly progress: () => void
  readonly durableLsn: () => number
  readonly writtenLsn: () => number
  readonly counters: Counters
}

export interface Counters {
  commits: number
  conflicts: number
  groups: number
  groupBytes: number
  syncs: number
  marks: number
}

export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Wal, never, Scope.Scope> {
  const live = new Live(options)
  const actor = yield* Actor.make<Message>({
    name: "wal",
    capacity: options.limits.mailbox,
    lanes: 4,
    receive: (message) => live.receive(message),
    settle: () => live.settle(),
    parked: () => live.parked.length,
    refuse: (message, error) => {
      if (message._tag === "Commit" || message._tag === "Await" || message._tag === "Cut") {
        message.done(Exit.fail(error))
      }
    },
    halt: (error) => live.halt(error),
    failed: options.failed
  })
  live.answer = actor.answer
  live.tell = actor.tell
  return {
    ...actor,
    submit: (intent) => Actor.submit(actor, (done): Message => ({ _tag: "Commit", intent, done })),
    awaitLsn: (lsn, durability) =>
      Actor.ask(actor, (done): Message => ({ _tag: "Await", lsn, durability, done })),
    cut: Actor.ask(actor, (done): Message => ({ _tag: "Cut", done })),
    progress: () => live.progress(),
    durableLsn: () => options.tail.durableLsn,
    writtenLsn: () => live.writtenLsn,
    counters: live.counters
  }
})

class Live {
  /** Commits that wait for room (I4). */
  readonly parked: Array<Message & { readonly _tag: "Commit" }> = []
  readonly counters: Counters = { commits: 0, conflicts: 0, groups: 0, groupBytes: 0, syncs: 0, marks: 0 }
  answer: (message: Message) => void = () => {}
  tell: (message: Message) => boolean = () => false
  writtenLsn: number
  private readonly options: Options
  private readonly reader = new Reader()
  /** By durability, each in LSN order. */
  private readonly waiting: Record<Durability, Array<Waiter>> = { memory: [], buffered: [], synced: [] }
  private nextKeyspaceId: number
  private lastMillis = 0
  private lastCommitEnd = 0
  private flushing = false
  private markDue = false
  private progressing = false
  private markedLsn = 0
  private error: StoreError | undefined

  constructor(options: Options) {
    this.options = options
    this.nextKeyspaceId = options.nextKeyspaceId
    this.writtenLsn = options.tail.durableLsn
    this.lastCommitEnd = options.tail.durableLsn
  }

  receive(message: Message): void {
    switch (message._tag) {
      case "Commit":
        return this.parked.length > 0 || !this.hasRoom()
          ? void this.parked.push(message)
          : this.commit(message)
      case "Await":
        return this.wait(
          message.durability,
          message.lsn,
          (error) => message.done(error === undefined ? Exit.void : Exit.fail(error))
        )
      case "Cut":
        return this.cut(message.done)
      case "Mark":
        return this.mark()
      case "Flushed":
        return this.flushed(message)
      case "Progress":
        this.progressing = false
        return
    }
  }

  settle(): void {
    if (this.error !== undefined) return
    this.complete()
    while (this.parked.length > 0 && this.hasRoom()) {
      const next = this.parked.shift()
      if (next !== undefined) this.commit(next)
    }
    this.flush()
  }

  /** One message stands for any number of moves. */
  progress(): void {
    if (this.progressing) return
    this.progressing = true
    this.answer({ _tag: "Progress" })
  }

  halt(error: StoreError): void {
    this.error ??= error
    const waiters = [...this.waiting.memory, ...this.waiting.buffered, ...this.waiting.synced]
    this.waiting.memory = []
    this.waiting.buffered = []
    this.waiting.synced = []
    for (const commit of this.parked.splice(0)) commit.done(Exit.fail(error))
    for (const waiter of waiters) waiter.complete(error)
  }

  private hasRoom(): boolean {
    const { limits, tail } = this.options
    return tail.end - tail.durableLsn <= limits.undurableBytes && this.options.admits()
  }

  private commit(message: Message & { readonly _tag: "Commit" }): void {
    const { done, intent } = message
    const { tail } = this.options
    if (intent.base !== undefined && intent.base < this.lastCommitEnd) {
      this.counters.conflicts++
      return done(Exit.succeed(undefined))
    }
    const mismatch = this.mismatch(intent)
    if (mismatch !== undefined) return done(Exit.fail(mismatch))
    this.lastMillis = Math.max(this.lastMillis, this.options.now())
    const writer = tail.begin(this.lastMillis)
    let writes = 0
    for (const keyspace of intent.keyspaces()) writes += this.encode(writer, keyspace)
    if (writes === 0) {
      tail.cancel()
      return this.wait(
        intent.durability,
        tail.end,
        (error) => done(error === undefined ? Exit.succeed(tail.end) : Exit.fail(error))
      )
    }
    const lsn = tail.append()
    this.lastCommitEnd = tail.end
    this.counters.commits++
    const reader = tail.readLast(this.reader)
    invariant(reader.nextRecord(), "Wal I1")
    this.options.apply(reader)
    this.wait(
      intent.durability,
      tail.end,
      (error) => done(error === undefined ? Exit.succeed(lsn) : Exit.fail(error))
    )
  }

  private cut(done: Actor.Reply<Cut, StoreError>): void {
    const cut = this.options.tail.cut()
    this.options.cut(cut)
    done(Exit.succeed(cut))
  }

  private mismatch(intent: Intent): StoreError | undefined {
    for (const { dropped, layout, name } of intent.keyspaces()) {
      const known = this.options.names.get(name)
      if (known === undefined || known.layout === layout || dropped) continue
      return storeError(new LayoutMismatch({ keyspace: name, stored: known.layout, declared: layout }))
    }
    return undefined
  }

  /** Encodes what an intent says of one keyspace, making or removing the keyspace as needed; answers the writes. */
  private encode(writer: RecordWriter, keyspace: KeyspaceIntent): number {
    const { names } = this.options
    let known = names.get(keyspace.name)
    let writes = 0
    if (known !== undefined && keyspace.dropped) {
      writer.dropKeyspace(known.id)
      names.delete(keyspace.name)
      known = undefined
      writes++
    } else if (known !== undefined && keyspace.cleared) {
      writer.clear(known.id)
      writes++
    }
    for (const { key, value } of keyspace.writes()) {
      if (known === undefined) {
        if (value === undefined) continue
        known = { id: this.nextKeyspaceId++, layout: keyspace.layout }
        names.set(keyspace.name, known)
        const definition = encodeDefinition({ codecVersion: 0, reducer: 0, layout: keyspace.layout })
        writer.createKeyspace(known.id, Buffer.from(keyspace.name), definition)
        writes++
      }
      if (value === undefined) writer.remove(known.id, key)
      else writer.put(known.id, key, value)
      writes++
    }
    return writes
  }

  private wait(durability: Durability, bound: number, complete: Waiter["complete"]): void {
    if (this.error !== undefined) return complete(this.error)
    this.waiting[durability].push({ bound, complete })
  }

  private complete(): void {
    const visible = this.options.visible()
    this.completeBelow("memory", visible)
    this.completeBelow("buffered", Math.min(visible, this.writtenLsn))
    this.completeBelow("synced", Math.min(visible, this.options.tail.durableLsn))
  }

  /** Waiters are resumed from this flat loop, never by each other: a long chain of resumptions aborts Node. */
  private completeBelow(durability: Durability, lsn: number): void {
    const waiters = this.waiting[durability]
    let count = 0
    while (count < waiters.length && (waiters[count] as Waiter).bound <= lsn) count++
    if (count === 0) return
    this.waiting[durability] = waiters.slice(count)
    for (let index = 0; index < count; index++) (waiters[index] as Waiter).complete(undefined)
  }

  /** Seals and writes what somebody waits for. One write is under way at a time; what comes meanwhile is the next. */
  private flush(): void {
    const { fork, limits, segments, tail } = this.options
    if (this.flushing) return
    const unsynced = tail.end - tail.durableLsn
    const sync = this.waiting.synced.some((waiter) => waiter.bound > tail.durableLsn)
      || unsynced > limits.undurableBytes / 2
    const write = sync || tail.openBytes > writeBehindBytes
      || this.waiting.buffered.some((waiter) => waiter.bound > this.writtenLsn)
    if (!write) return
    tail.seal()
    const groups = takeAll(tail)
    if (groups.length === 0 && !(sync && this.writtenLsn > tail.durableLsn)) return
    const end = groups.at(-1)?.end ?? this.writtenLsn
    this.flushing = true
    this.counters.groups += groups.length
    for (const group of groups) this.counters.groupBytes += group.bytes.length
    if (sync) this.counters.syncs++
    const written = segments.write(groups)
    const job = sync ? Effect.andThen(written, segments.sync) : written
    fork(Effect.map(Effect.exit(job), (exit) => this.answer({ _tag: "Flushed", end, synced: sync, exit })))
  }

  private flushed(message: Message & { readonly _tag: "Flushed" }): void {
    const { tail } = this.options
    this.flushing = false
    if (Exit.isFailure(message.exit)) {
      const failure = Exit.findErrorOption(message.exit)
      if (failure._tag === "None") return this.options.failed(message.exit.cause)
      return this.options.poisoned(failure.value)
    }
    invariant(message.end >= this.writtenLsn, "Wal I1")
    this.writtenLsn = message.end
    if (!message.synced) return
    tail.durable(message.end)
    tail.release(message.end)
    this.options.durable(message.end)
    this.scheduleMark()
  }

  /** After a while without commits, says in the log itself how far it is durable. */
  private scheduleMark(): void {
    if (this.markDue) return
    this.markDue = true
    this.options.fork(Effect.map(Effect.sleep(this.options.limits.markDelayMillis), () => {
      if (!this.tell({ _tag: "Mark" })) this.markDue = false
    }))
  }

  private mark(): void {
    const { fork, segments, tail } = this.options
    this.markDue = false
    if (this.flushing || tail.records > 0 || tail.durableLsn <= this.markedLsn) return
    tail.mark()
    this.markedLsn = tail.groupLsn
    this.counters.marks++
    const groups = takeAll(tail)
    this.flushing = true
    fork(Effect.map(Effect.exit(segments.write(groups)), (exit) => {
      this.answer({ _tag: "Flushed", end: tail.groupLsn, synced: false, exit })
    }))
  }
}

const takeAll = (tail: Tail): Array<ReturnType<Tail["shift"]> & {}> => {
  const groups = []
  for (let group = tail.shift(); group !== undefined; group = tail.shift()) groups.push(group)
  return groups
}
