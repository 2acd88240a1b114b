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
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { invariant } from "../Invariant.ts"
import type { Durability } from "../Limits.ts"
import type { Cut } from "../log/Group.ts"
import { RecordReader } from "../log/RecordReader.ts"
import type { StoreError } from "../StoreError.ts"
import type { Intent } from "./commit/Intent.ts"
import { sizeOfUpkeep } from "./commit/IntentSize.ts"
import type { AddPiece, Append, Commit, EndSessions, Message, Relocate } from "./commit/Request.ts"
import { awaiting, commitOf, reply } from "./commit/Request.ts"
import type { Stream } from "./commit/Streams.ts"
import { Streams } from "./commit/Streams.ts"
import type { Turn } from "./commit/Turns.ts"
import { Turns } from "./commit/Turns.ts"
import { Watch } from "./commit/Watch.ts"
import { Window } from "./commit/Window.ts"
import { remember } from "./commit/Written.ts"
import { GroupCommit } from "./GroupCommit.ts"
import * as Actor from "./loop/Actor.ts"
import type { Options, Wal } from "./WalDoor.ts"

export type { Message } from "./commit/Request.ts"
export type { Wal } from "./WalDoor.ts"

export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Wal, never, Scope.Scope> {
  const live = new Live(options, yield* Clock.Clock)
  const actor = yield* Actor.make<Message>({
    name: "wal",
    capacity: options.limits.mailbox,
    // Two flushes, a progress, the idle timer, a cut, the wait for it, and what becomes of the turn and of its pieces.
    lanes: 8,
    receive: (message) => live.receive(message),
    settle: () => live.settle(),
    parked: () => live.parked.length + live.turns.waiting,
    refuse: (message, error) => {
      if ("done" in message) message.done(Exit.fail(error))
    },
    halt: (error) => live.halt(error),
    failed: options.failed
  })
  live.answer = actor.answer
  live.wake = actor.wake
  live.group.answer = actor.answerNow
  const reserved = reservedOf(actor)
  return {
    ...actor,
    submit: (intent, stream) =>
      Actor.post(intent.turn === undefined ? actor : reserved, commitOf(intent, stream)),
    addPiece: (stream, piece) => {
      const door = stream.isInTurn ? reserved : actor
      return Actor.ask(door, (done): Message => ({ _tag: "Piece", stream, piece, done }))
    },
    abandon: (stream) => live.streams.abandon(stream) && live.progress(),
    streams: live.streams,
    takeTurn: (asked) =>
      Actor.ask(actor, (done): Message => {
        const turn: Turn = { state: "waiting", done }
        asked(turn)
        return { _tag: "Turn", turn, done }
      }),
    endTurn: (turn) => live.endTurn(turn),
    window: live.window,
    watch: live.watch,
    awaitLsn: (lsn, durability) => Actor.ask(actor, awaiting(lsn, durability)),
    awaitCut: (lsn) => Actor.ask(reserved, awaiting(lsn, "synced")),
    promiseDurable: (lsn) =>
      live.promiseDurable(lsn, () => {
        if (!actor.inline({ _tag: "Progress" })) live.progress()
      }),
    relocate: (moves) => Actor.ask(actor, (done): Message => ({ _tag: "Relocate", moves, done })),
    cut: Actor.ask(reserved, (done): Message => ({ _tag: "Cut", done })),
    claim: (name) => Actor.ask(actor, (done): Message => ({ _tag: "Claim", name, done })),
    endSessions: (names, by) =>
      Actor.ask(actor, (done): Message => ({ _tag: "EndSessions", names, by, done })),
    progress: () => live.progress(),
    ready: () => live.ready(),
    stalledMillis: () => live.stalledMillis(),
    names: options.names,
    counters: live.group.counters,
    turns: () => live.turns.count,
    span: live.group.span
  }
})

/** The door of whoever holds the turn or takes a checkpoint: the mailbox may be full of those that wait for its end. */
const reservedOf = ({ answer, wake }: Actor.Actor<Message>): Actor.Door<Message> => ({
  inline: () => false,
  tell: (message) => {
    answer(message)
    return true
  },
  send: () => Effect.void,
  wake
})

class Live {
  /** What waits for room (I4). */
  readonly parked: Array<Append> = []
  answer: (message: Message) => void = () => {}
  wake: (resume: () => void) => void = () => {}
  private readonly options: Options
  private readonly reader = new RecordReader()
  readonly group: GroupCommit
  readonly window: Window
  readonly watch = new Watch()
  readonly turns = new Turns()
  readonly streams: Streams
  private lastMillis = 0
  private progressing = false
  /** Milliseconds in which commits waited for room, but for those that wait now. */
  private stalled = 0
  private stalledSince = 0
  private error: StoreError | undefined

  constructor(options: Options, clock: Clock.Clock) {
    this.options = options
    this.group = new GroupCommit(options, clock)
    this.streams = new Streams(options)
    this.window = new Window({
      since: options.tail.durableLsn,
      mostBytes: options.limits.conflictWindowBytes
    })
  }

  receive(message: Message): void {
    switch (message._tag) {
      case "Commit":
        return this.ready() || (message.intent.turn !== undefined && this.mayAppend())
          ? this.commit(message)
          : this.park(message)
      case "Piece":
      case "Relocate":
      case "EndSessions":
        return this.mayAppend() && this.parked.length === 0 ? this.append(message) : this.park(message)
      case "Claim":
        return message.done(this.options.sessions.claim(message.name))
      case "Turn":
        return this.turns.ask(message.turn)
      case "TurnOver":
        return this.turns.end(message.turn)
      case "Await":
        return this.wait(message.durability, message.lsn, reply(message.done, undefined))
      case "Cut":
        return this.cut(message.done)
      case "Idle":
        return this.group.idle()
      case "Flushed":
        return this.group.flushed(message.flight, message.exit)
      case "Progress":
        this.progressing = false
        return
    }
  }

  settle(): void {
    if (this.error !== undefined) return
    this.group.complete()
    for (let next = this.nextParked(); next >= 0; next = this.nextParked()) {
      const [message] = this.parked.splice(next, 1)
      if (message !== undefined) this.append(message)
      if (this.parked.length === 0) this.stalled += this.options.now() - this.stalledSince
    }
    this.refuseParked()
    const turn = this.turns.next()
    // It begins where all that was committed can be seen: then it cannot lose.
    if (turn !== undefined) this.wait("memory", this.options.tail.end, reply(turn.done, undefined))
    this.abort()
    this.group.flush()
    // What is applied already may be all that its waiter asked for.
    this.group.complete()
    if (this.watch.isRoused) this.wake(() => this.watch.wake())
  }

  /** Nobody waits for what will not come soon. */
  private refuseParked(): void {
    const { length } = this.parked
    const refusal = length === 0 ? undefined : this.options.admission.refusal(length)
    if (refusal === undefined) return
    this.stalled = this.stalledMillis()
    for (const message of this.parked.splice(0)) {
      if (message._tag === "Commit") {
        message.intent.validated?.()
        if (message.intent.turn !== undefined) this.turns.end(message.intent.turn)
      }
      message.done(Exit.fail(refusal))
    }
  }

  /** The first of the parked that may be appended now; -1 where none may. */
  private nextParked(): number {
    if (this.parked.length === 0 || !this.hasRoom()) return -1
    if (!this.turns.isHeld) return 0
    return this.parked.findIndex((message) =>
      message._tag !== "Commit" || this.turns.admits(message.intent.turn)
    )
  }

  promiseDurable(lsn: number, begin: () => void): Promise<void> {
    return this.error === undefined ? this.group.promised.until(lsn, begin) : Promise.reject(this.error)
  }

  endTurn(turn: Turn): void {
    // One that is held has a lane of its own; one that waits is passed over when it would begin.
    if (turn.state === "held" && this.error === undefined) this.answer({ _tag: "TurnOver", turn })
    turn.state = "over"
  }

  /** One message stands for any number of moves. */
  progress(): void {
    if (this.progressing) return
    this.progressing = true
    this.answer({ _tag: "Progress" })
  }

  ready(): boolean {
    return this.parked.length === 0 && !this.turns.isHeld && this.mayAppend()
  }

  private mayAppend(): boolean {
    return this.error === undefined && this.hasRoom()
  }

  halt(error: StoreError): void {
    this.error ??= error
    for (const commit of this.parked.splice(0)) commit.done(Exit.fail(error))
    this.turns.failAll(error)
    this.group.waiters.failAll(error)
    this.watch.wakeAll()
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
    return tail.end - tail.durableLsn <= limits.undurableBytes && this.options.admission.admits()
  }

  private append(message: Append): void {
    if (message._tag === "Commit") return this.commit(message)
    if (message._tag === "Piece") return this.piece(message)
    const refusal = this.options.reserve.refusalOfUpkeep(sizeOfUpkeep(message))
    if (refusal !== undefined) return message.done(Exit.fail(refusal))
    return message._tag === "Relocate" ? this.relocate(message) : this.endSessions(message)
  }

  private commit({ done, intent, stream }: Commit): void {
    const { names, reserve, sessions, tail } = this.options
    const isValid = this.validate(intent)
    intent.validated?.()
    if (intent.turn !== undefined) this.turns.end(intent.turn)
    if (!isValid) return done(Exit.succeed(undefined))
    if (stream !== undefined) return this.commitStream(intent, stream, done)
    const refusal = names.mismatch(intent) ?? sessions.refusal(intent.session) ?? reserve.refusal(intent)
    if (refusal !== undefined) return done(Exit.fail(refusal))
    const writes = names.encode(sessions.begin(tail, this.millis(), intent.session), intent)
    if (writes > 0 || intent.session !== undefined) return this.appendCommit(intent, done)
    tail.cancel()
    this.wait(intent.durability, tail.end, reply(done, tail.end))
  }

  /** No writes of its own: those in its pieces count from here on. */
  private commitStream(intent: Intent, stream: Stream, done: Commit["done"]): void {
    const problem = this.streams.beginCommit(stream, this.millis())
    if (problem === undefined) return this.appendCommit(intent, done, stream)
    done(problem === "stale" ? Exit.succeed(undefined) : Exit.fail(problem))
  }

  /** No commit yet: it is in no conflict, and stands in nobody's way. */
  private piece({ done, piece, stream }: AddPiece): void {
    const error = this.streams.begin(stream, piece, this.millis())
    if (error !== undefined) return done(Exit.fail(error))
    this.options.tail.append()
    this.apply()
    done(Exit.succeed(this.streams.appended(stream, this.reader)))
  }

  private abort(): void {
    while (this.streams.isAborting && this.mayAppend()) {
      this.streams.beginAbort(this.millis())
      this.options.tail.append()
      this.apply()
    }
  }

  /** Whether nothing that it read was written since. */
  private validate({ reads }: Intent): boolean {
    // Nothing at all was: so it is for every body that never suspends.
    if (reads === undefined || reads.at >= this.group.lastCommitEnd) return true
    reads.lost = this.window.conflict(reads)
    if (reads.lost === undefined) return true
    this.group.counters.conflicts++
    return false
  }

  private appendCommit(intent: Intent, done: Commit["done"], stream?: Stream): void {
    const { names, tail, visible } = this.options
    const { session } = intent
    const lsn = tail.append()
    this.group.appended(intent.span, names.encodedBytes)
    intent.appended?.(lsn)
    if (stream !== undefined) this.streams.committed(stream)
    if (session !== undefined) {
      this.options.sessions.committed(session, lsn, this.lastMillis)
      // Never told at once: what comes next in its session would run in the middle of this.
      this.group.waiters.add("memory", tail.end, () => this.wake(session.visible))
    }
    this.apply()
    // Whoever begins now sees it.
    if (this.window.open + this.watch.size === 0 && visible() === tail.end) this.window.skip(tail.end)
    else remember(this, lsn, intent, stream?.names.used)
    this.wait(intent.durability, tail.end, reply(done, lsn))
  }

  /** No commit: it is in no conflict, and stands in nobody's way. */
  private relocate({ done, moves }: Relocate): void {
    const writer = this.options.tail.beginRelocate(this.millis())
    for (const { from, key, keyspace, value, version } of moves) {
      writer.relocate(keyspace, key, value, from, version)
    }
    this.appendSynced(reply(done, undefined))
  }

  /** No commit either; a record that ends nobody does no harm. */
  private endSessions({ by, done, names }: EndSessions): void {
    const { sessions, tail } = this.options
    this.appendSynced(reply(done, sessions.end(tail.begin(this.millis()), names, by)))
  }

  private appendSynced(complete: (error: StoreError | undefined) => void): void {
    this.options.tail.append()
    this.wait("synced", this.options.tail.end, complete)
    this.apply()
  }

  /** Hands the record that was appended last to the Tree. */
  private apply(): void {
    const { apply, segments, tail } = this.options
    segments.announce(tail.segment)
    const reader = tail.readLast(this.reader)
    invariant(reader.nextRecord(), "Wal I1")
    apply(reader)
    this.group.scheduleIdle()
  }

  /** Timestamps of records do not go back, whatever the clock does. */
  private millis(): number {
    this.lastMillis = Math.max(this.lastMillis, this.options.now())
    return this.lastMillis
  }

  private cut(done: Actor.Reply<Cut, StoreError>): void {
    const cut = this.options.tail.cut()
    this.options.cut(cut, this.streams.atCut(this.millis()))
    done(Exit.succeed(cut))
  }

  private wait(
    durability: Durability,
    bound: number,
    complete: (error: StoreError | undefined) => void
  ): void {
    if (this.error !== undefined) return complete(this.error)
    // All that was asked for may be there already, and nobody waits before it.
    const isThere = durability === "memory" && this.options.visible() >= bound
    if (isThere && !this.group.waiters.wants("memory", 0)) return complete(undefined)
    this.group.waiters.add(durability, bound, complete)
  }
}
