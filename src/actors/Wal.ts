/**
 * The write-ahead log's owner: one committer, one total order.
 *
 * It takes commit intents, gives each its LSN by appending its record to the open group, has the Tree apply it, and
 * makes it durable: whatever waits is sealed as one group, written and synced once, and acknowledged together.
 *
 * ```
 *            Commit                  settle: somebody waits             answer: Flushed
 *   Idle ─────────────▶ Appended ───────────────────────────▶ Flushing ────────────────▶ Idle, or the next group
 *     │                                                           │ failed
 *     └─ Idle, after a while: what nobody waits for is synced,    └────────▶ Poisoned (only reopening clears it)
 *        or a mark tells in the log how far it is durable
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
import { RecordReader } from "../log/RecordReader.ts"
import type { SealedGroup, Tail } from "../log/Tail.ts"
import type { StoreError } from "../StoreError.ts"
import type { Distribution } from "../Telemetry.ts"
import * as Actor from "./Actor.ts"
import { GroupSpan } from "./GroupSpan.ts"
import type { Intent, Names } from "./Intent.ts"
import type { Append, Commit, Message, Move, Relocate } from "./Request.ts"
import { reply } from "./Request.ts"
import type { Segments } from "./Segments.ts"
import { Waiters } from "./Waiters.ts"

export type { Message } from "./Request.ts"

export interface Options {
  readonly limits: Limits
  readonly tail: Tail
  readonly segments: Segments
  readonly names: Names
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

/** Without waiters the open group is written when it has this many bytes: large calls, little memory. */
const writeBehindBytes = 256 * 1024

export interface Wal extends Actor.Actor<Message> {
  /** Hands an intent over; the answer waits for its LSN, or `undefined` where its base is stale. */
  readonly submit: (intent: Intent) => Effect.Effect<Effect.Effect<number | undefined, StoreError>>
  readonly awaitLsn: (lsn: number, durability: Durability) => Effect.Effect<void, StoreError>
  /** Writes values anew, and waits until that is synced. */
  readonly relocate: (moves: ReadonlyArray<Move>) => Effect.Effect<void, StoreError>
  readonly cut: Effect.Effect<Cut, StoreError>
  /** Something that commits may have waited for has moved: visible LSN, length of the log. */
  readonly progress: () => void
  /** Whether a commit handed over now would be appended at once. */
  readonly ready: () => boolean
  /** How long commits have waited for room so far. */
  readonly stalledMillis: () => number
  readonly counters: Counters
  readonly sizes: Distribution
  readonly syncs: Distribution
}

export interface Counters {
  commits: number
  /** Keys and values of these commits. */
  commitBytes: number
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
    // A flush, a progress, and the idle timer.
    lanes: 3,
    receive: (message) => live.receive(message),
    settle: () => live.settle(),
    parked: () => live.parked.length,
    refuse: (message, error) => {
      if ("done" in message) message.done(Exit.fail(error))
    },
    halt: (error) => live.halt(error),
    failed: options.failed
  })
  live.answer = actor.answer
  return {
    ...actor,
    submit: (intent) => Actor.submit(actor, (done): Message => ({ _tag: "Commit", intent, done })),
    awaitLsn: (lsn, durability) =>
      Actor.ask(actor, (done): Message => ({ _tag: "Await", lsn, durability, done })),
    relocate: (moves) => Actor.ask(actor, (done): Message => ({ _tag: "Relocate", moves, done })),
    cut: Actor.ask(actor, (done): Message => ({ _tag: "Cut", done })),
    progress: () => live.progress(),
    ready: () => live.ready(),
    stalledMillis: () => live.stalledMillis(),
    counters: live.counters,
    sizes: live.groupSpan.sizes,
    syncs: live.groupSpan.syncs
  }
})

class Live {
  /** What waits for room (I4). */
  readonly parked: Array<Append> = []
  readonly counters: Counters = {
    commits: 0,
    commitBytes: 0,
    conflicts: 0,
    groups: 0,
    groupBytes: 0,
    syncs: 0,
    marks: 0
  }
  answer: (message: Message) => void = () => {}
  private readonly options: Options
  private readonly reader = new RecordReader()
  private readonly waiters = new Waiters()
  readonly groupSpan = new GroupSpan()
  private writtenLsn: number
  private lastMillis = 0
  private lastCommitEnd: number
  private flushing = false
  private idleDue = false
  private progressing = false
  /** Milliseconds in which commits waited for room, but for those that wait now. */
  private stalled = 0
  private stalledSince = 0
  private markedLsn = 0
  private error: StoreError | undefined

  constructor(options: Options) {
    this.options = options
    this.writtenLsn = options.tail.durableLsn
    this.lastCommitEnd = options.tail.durableLsn
  }

  receive(message: Message): void {
    switch (message._tag) {
      case "Commit":
      case "Relocate":
        return this.ready() ? this.append(message) : this.park(message)
      case "Await":
        return this.wait(message.durability, message.lsn, reply(message.done, undefined))
      case "Cut":
        return this.cut(message.done)
      case "Idle":
        return this.idle()
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
      if (next !== undefined) this.append(next)
      if (this.parked.length === 0) this.stalled += this.options.now() - this.stalledSince
    }
    this.flush()
    // What is applied already may be all that its waiter asked for.
    this.complete()
  }

  /** One message stands for any number of moves. */
  progress(): void {
    if (this.progressing) return
    this.progressing = true
    this.answer({ _tag: "Progress" })
  }

  ready(): boolean {
    return this.error === undefined && this.parked.length === 0 && this.hasRoom()
  }

  halt(error: StoreError): void {
    this.error ??= error
    for (const commit of this.parked.splice(0)) commit.done(Exit.fail(error))
    this.waiters.failAll(error)
  }

  stalledMillis(): number {
    return this.parked.length === 0 ? this.stalled : this.stalled + this.options.now() - this.stalledSince
  }

  private park(message: Append): void {
    if (this.parked.length === 0) this.stalledSince = this.options.now()
    this.parked.push(message)
  }

  private hasRoom(): boolean {
    const { limits, tail } = this.options
    return tail.end - tail.durableLsn <= limits.undurableBytes && this.options.admits()
  }

  private append(message: Append): void {
    if (message._tag === "Commit") this.commit(message)
    else this.relocate(message)
  }

  private commit({ done, intent }: Commit): void {
    const { names, tail } = this.options
    if (intent.base !== undefined && intent.base < this.lastCommitEnd) {
      this.counters.conflicts++
      return done(Exit.succeed(undefined))
    }
    const mismatch = names.mismatch(intent)
    if (mismatch !== undefined) return done(Exit.fail(mismatch))
    if (names.encode(tail.begin(this.millis()), intent) > 0) return this.appendCommit(intent, done)
    tail.cancel()
    this.wait(intent.durability, tail.end, reply(done, tail.end))
  }

  private appendCommit(intent: Intent, done: Actor.Reply<number | undefined, StoreError>): void {
    const { names, tail } = this.options
    const lsn = tail.append()
    this.lastCommitEnd = tail.end
    this.counters.commits++
    this.counters.commitBytes = names.encodedBytes
    this.groupSpan.add(intent.span)
    intent.appended?.(lsn)
    // Before it is applied: should that fail, whoever waits is told with everybody else.
    this.wait(intent.durability, tail.end, reply(done, lsn))
    this.apply()
  }

  /** No commit: it is in no conflict, and stands in nobody's way. */
  private relocate({ done, moves }: Relocate): void {
    const { tail } = this.options
    const writer = tail.beginRelocate(this.millis())
    for (const { from, key, keyspace, value, version } of moves) {
      writer.relocate(keyspace, key, value, from, version)
    }
    tail.append()
    this.wait("synced", tail.end, reply(done, undefined))
    this.apply()
  }

  /** Hands the record that was appended last to the Tree. */
  private apply(): void {
    const { apply, segments, tail } = this.options
    segments.announce(tail.segment)
    const reader = tail.readLast(this.reader)
    invariant(reader.nextRecord(), "Wal I1")
    apply(reader)
    this.scheduleIdle()
  }

  /** Timestamps of records do not go back, whatever the clock does. */
  private millis(): number {
    this.lastMillis = Math.max(this.lastMillis, this.options.now())
    return this.lastMillis
  }

  private cut(done: Actor.Reply<Cut, StoreError>): void {
    const cut = this.options.tail.cut()
    this.options.cut(cut)
    done(Exit.succeed(cut))
  }

  private wait(
    durability: Durability,
    bound: number,
    complete: (error: StoreError | undefined) => void
  ): void {
    if (this.error !== undefined) return complete(this.error)
    this.waiters.add(durability, bound, complete)
  }

  private complete(): void {
    const visible = this.options.visible()
    this.waiters.completeBelow("memory", visible)
    this.waiters.completeBelow("buffered", Math.min(visible, this.writtenLsn))
    this.waiters.completeBelow("synced", Math.min(visible, this.options.tail.durableLsn))
  }

  /** Seals and writes what somebody waits for. One write is under way at a time; what comes meanwhile is the next. */
  private flush(): void {
    const { limits, tail } = this.options
    if (this.flushing) return
    if (
      this.waiters.wants("synced", tail.durableLsn) || tail.end - tail.durableLsn > limits.undurableBytes / 2
    ) {
      tail.seal()
      this.start("write and sync")
    } else if (this.waiters.wants("buffered", this.writtenLsn) || tail.openBytes > writeBehindBytes) {
      tail.seal()
      this.start("write")
    }
  }

  private start(job: "write" | "write and sync"): void {
    const { fork, segments, tail } = this.options
    const groups = takeAll(tail)
    const synced = job === "write and sync"
    if (groups.length === 0 && !(synced && this.writtenLsn > tail.durableLsn)) return
    const end = groups.at(-1)?.end ?? this.writtenLsn
    const bytes = groups.reduce((sum, group) => sum + group.bytes.length, 0)
    this.flushing = true
    this.counters.groups += groups.length
    this.counters.groupBytes += bytes
    if (synced) this.counters.syncs++
    const written = this.groupSpan.around({
      first: groups[0]?.lsn ?? end,
      end,
      bytes,
      write: segments.write(groups),
      sync: synced ? segments.sync : undefined
    })
    fork(Effect.map(Effect.exit(written), (exit) => this.answer({ _tag: "Flushed", end, synced, exit })))
  }

  private flushed({ end, exit, synced }: Message & { readonly _tag: "Flushed" }): void {
    const { durable, failed, poisoned, tail } = this.options
    this.flushing = false
    if (Exit.isFailure(exit)) {
      const failure = Exit.findErrorOption(exit)
      return failure._tag === "Some" ? poisoned(failure.value) : failed(exit.cause)
    }
    invariant(end >= this.writtenLsn, "Wal I1")
    this.writtenLsn = end
    this.foresee()
    if (!synced) return
    tail.durable(end)
    tail.release(end)
    durable(end)
    this.scheduleIdle()
  }

  /** Has the file of the next segment made while this one fills. Without it, beginning the segment takes longer. */
  private foresee(): void {
    const { fork, segments, tail } = this.options
    const { base, capacity } = tail.segment
    if (this.writtenLsn - base > capacity / 2 && !segments.hasSpare) fork(Effect.ignore(segments.prepare))
  }

  private scheduleIdle(): void {
    if (this.idleDue) return
    this.idleDue = true
    this.options.fork(Effect.map(Effect.sleep(this.options.limits.markDelayMillis), () => {
      this.answer({ _tag: "Idle" })
    }))
  }

  /** Syncs what nobody waits for; when all is synced, says so in the log itself, where recovery will look for it. */
  private idle(): void {
    const { tail } = this.options
    this.idleDue = false
    if (this.flushing) return this.scheduleIdle()
    if (this.lastCommitEnd > tail.durableLsn) {
      tail.seal()
      this.start("write and sync")
    } else if (tail.durableLsn > this.markedLsn) {
      tail.mark()
      this.markedLsn = tail.groupLsn
      this.counters.marks++
      this.start("write")
    }
  }
}

const takeAll = (tail: Tail): Array<SealedGroup> => {
  const groups: Array<SealedGroup> = []
  for (let group = tail.shift(); group !== undefined; group = tail.shift()) groups.push(group)
  return groups
}
