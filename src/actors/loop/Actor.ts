/**
 * The one loop that every actor runs.
 *
 * An actor owns some state and is the only one to change it. Messages reach it in a bounded mailbox; it takes all that
 * wait, handles them one after another without suspending, settles the batch once, and waits again. What takes time
 * (the disk) it starts and forgets; the result comes back as an answer.
 *
 * ```
 *            tell, send, answer
 *   Idle ─────────────────────▶ Busy ─┐
 *    ▲   inline                   │   │ defect in receive or settle
 *    └────── settle ──────────────┘   └──▶ failed() tells the machine, which stops every actor:
 *
 *   any ── stop(error) ──▶ Stopped     what is inside and in the mailbox, and all that comes later, is refused
 * ```
 *
 * I1 Requests are refused at the mailbox's capacity, counting those that the actor has parked, and where it has no room
 *    for what they carry; answers never are, because whoever caused one paid for its place in advance (`lanes`).
 * I2 Messages are handled in the order in which they were accepted, and never two at a time.
 * I3 Every request is either handled or refused, so that nobody waits for ever.
 * I4 While the actor is in the middle of something nobody goes on whom it has replied to (`wake`): what they do next
 *    would run in the middle of it, and of the call of whoever asks through the inline door.
 *
 * The inline door handles a single message on its sender's stack when nothing waits before it, so that a lone request
 * pays no fiber hop (about 1 µs). A shared executor for all actors was rejected: it would interleave their batches and
 * hide who holds the event loop.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { invariant } from "../../Invariant.ts"
import type { StoreError } from "../../StoreError.ts"
import * as LoopTime from "./LoopTime.ts"

/** Messages handled between two yields to the event loop. */
const sliceMessages = 256

export interface Behavior<Message> {
  readonly name: string
  /** Requests that may wait, parked ones included. */
  readonly capacity: number
  /** Answers that may be on their way at once. */
  readonly lanes: number
  /** Takes room for what a request carries; false where there is none now. By default there always is. */
  readonly admit?: (message: Message) => boolean
  readonly receive: (message: Message) => void
  /** Runs once after each batch: the place to start what the batch made necessary. */
  readonly settle: () => void
  /** Requests that were received and wait inside the actor. */
  readonly parked: () => number
  /** Replies to a request that will not be handled; an answer that comes too late may still be of use. */
  readonly refuse: (message: Message, error: StoreError) => void
  /** Replies to every request inside the actor; it receives nothing any more. */
  readonly halt: (error: StoreError) => void
  /** Tells the machine of a defect. */
  readonly failed: (cause: unknown) => void
  /** Shared with the jobs that it starts; its own where absent. */
  readonly loopTime?: LoopTime.LoopTime
}

export interface Actor<Message> {
  readonly name: string
  readonly capacity: number
  /** How long it has held the event loop, each time. */
  readonly loopTime: LoopTime.LoopTime
  /** Leaves a request; false where the mailbox is full or the actor has stopped. */
  readonly tell: (message: Message) => boolean
  /** Leaves a request, waiting for a place; where the actor has stopped, the request is refused. */
  readonly send: (message: Message) => Effect.Effect<void>
  /** Leaves an answer in its pre-paid place. */
  readonly answer: (message: Message) => void
  /** The same, handled at once where nothing waits before it. Whoever it wakes goes on after it, on this stack. */
  readonly answerNow: (message: Message) => void
  /**
   * Handles a request at once where nothing waits before it; false where it was not taken. Whoever else is replied to
   * goes on after the caller.
   */
  readonly inline: (message: Message) => boolean
  /**
   * Handles on the caller's stack what waits; false where nothing does, where the actor is in the middle of something,
   * or others wait for a place. Whoever is replied to goes on after the caller.
   */
  readonly drain: () => boolean
  /** Lets whoever waited for a reply go on. */
  readonly wake: (resume: () => void) => void
  /** Requests that wait, parked ones included. */
  readonly waiting: () => number
  /** Refuses everything from now on. */
  readonly stop: (error: StoreError) => void
}

export const make = <Message>(
  behavior: Behavior<Message>
): Effect.Effect<Actor<Message>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const mailbox = yield* Queue.bounded<Message>(behavior.capacity + behavior.lanes)
    const loopTime = behavior.loopTime ?? (yield* LoopTime.make)
    const live = new Live(behavior, mailbox, loopTime)
    yield* Effect.forkScoped(live.run)
    return {
      name: behavior.name,
      capacity: behavior.capacity,
      loopTime,
      tell: (message) => live.tell(message),
      send: (message) => Effect.suspend(() => live.send(message)),
      answer: (message) => live.answer(message),
      answerNow: (message) => live.answerNow(message),
      inline: (message) => live.inline(message),
      drain: () => live.drain(),
      wake: (resume) => live.wake(resume),
      waiting: () => live.waiting(),
      stop: (error) => live.stop(error)
    }
  })

class Live<Message> {
  private readonly behavior: Behavior<Message>
  private readonly mailbox: Queue.Queue<Message>
  private readonly loopTime: LoopTime.LoopTime
  private readonly senders: Array<{ readonly message: Message; readonly admitted: () => void }> = []
  /** Messages that were accepted and not handled yet: in the mailbox, or taken from it. */
  private accepted = 0
  /** Answers that are in the mailbox now; they do not count against the requests' capacity. */
  private answers = 0
  private batch: ReadonlyArray<Message> = []
  /** How many messages of the batch have been handled. */
  private handled = 0
  private busy = false
  /** Whether something is being handled now, and who was replied to in it. */
  private handling = false
  private woken: Array<() => void> = []
  private stopped: StoreError | undefined

  constructor(behavior: Behavior<Message>, mailbox: Queue.Queue<Message>, loopTime: LoopTime.LoopTime) {
    this.behavior = behavior
    this.mailbox = mailbox
    this.loopTime = loopTime
  }

  waiting(): number {
    return this.accepted - this.answers + this.behavior.parked()
  }

  tell(message: Message): boolean {
    if (this.stopped !== undefined || this.senders.length > 0) return false
    return this.hasRoom(message) && this.offer(message)
  }

  private hasRoom(message: Message): boolean {
    return this.waiting() < this.behavior.capacity && this.behavior.admit?.(message) !== false
  }

  private offer(message: Message): boolean {
    if (!Queue.offerUnsafe(this.mailbox, message)) return false
    this.accepted++
    return true
  }

  send(message: Message): Effect.Effect<void> {
    // In one step: a fiber may be taken off between two, and miss that there is room again, or will be none any more.
    return Effect.callback<void>((resume) => {
      if (this.stopped !== undefined) {
        this.behavior.refuse(message, this.stopped)
        return resume(Effect.void)
      }
      if (this.tell(message)) return resume(Effect.void)
      const sender = { message, admitted: () => resume(Effect.void) }
      this.senders.push(sender)
      return Effect.sync(() => {
        const index = this.senders.indexOf(sender)
        if (index >= 0) this.senders.splice(index, 1)
      })
    })
  }

  answer(message: Message): void {
    if (this.stopped !== undefined) return this.behavior.refuse(message, this.stopped)
    this.answers++
    invariant(this.offer(message), `Actor I1 (${this.behavior.name})`)
  }

  answerNow(message: Message): void {
    if (this.busy || this.accepted > 0 || this.stopped !== undefined) return this.answer(message)
    this.busy = true
    this.loopTime.around(() => {
      this.handling = true
      this.receive(message)
      this.settle()
      this.handling = false
    })
    this.busy = false
    this.admit()
    this.rouse()
  }

  inline(message: Message): boolean {
    const first = !this.busy && this.stopped === undefined && this.senders.length === 0
      && this.accepted === 0 && this.behavior.parked() === 0
    if (!first || this.behavior.admit?.(message) === false) return false
    this.busy = true
    this.handling = true
    this.receive(message)
    this.settle()
    this.handling = false
    this.busy = false
    this.admit()
    this.rouseLater()
    return true
  }

  drain(): boolean {
    if (this.handling || this.accepted === 0 || this.senders.length > 0 || this.stopped !== undefined) {
      return false
    }
    const batch = this.batch.slice(this.handled)
    while (batch.length < this.accepted) {
      const message = Queue.takeUnsafe(this.mailbox)
      if (message === undefined || Exit.isFailure(message)) break
      batch.push(message.value)
    }
    this.begin(batch)
    this.loopTime.around(() => this.handle(batch.length))
    this.end()
    this.rouseLater()
    return true
  }

  readonly run: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    while (true) {
      const batch = yield* Queue.takeAll(this.mailbox)
      this.begin(batch)
      while (this.handled < this.batch.length) {
        this.loopTime.around(() => this.handle(this.handled + sliceMessages))
        if (this.handled === this.batch.length) break
        this.rouse()
        // Somebody may drain the rest meanwhile.
        yield* Effect.yieldNow
      }
      this.end()
      this.rouse()
    }
  })

  private begin(batch: ReadonlyArray<Message>): void {
    this.answers = 0
    this.batch = batch
    this.handled = 0
    // Busy for the whole batch, its yields included: nothing may overtake a message that was accepted (I2).
    this.busy = true
  }

  private end(): void {
    this.batch = []
    this.handled = 0
    this.busy = false
    this.admit()
  }

  /**
   * Who is replied to in a batch goes on after it: in the middle of it, its next request would find the actor busy, and
   * one after another would pay the hop that the inline door saves.
   */
  wake(resume: () => void): void {
    if (this.handling) this.woken.push(resume)
    else resume()
  }

  private rouse(): void {
    if (this.woken.length === 0) return
    const woken = this.woken
    this.woken = []
    for (const resume of woken) resume()
  }

  private rouseLater(): void {
    if (this.woken.length > 0) queueMicrotask(() => this.rouse())
  }

  private handle(most: number): void {
    this.handling = true
    const until = Math.min(most, this.batch.length)
    while (this.handled < until) {
      const message = this.batch[this.handled++] as Message
      this.accepted--
      if (this.stopped !== undefined) this.behavior.refuse(message, this.stopped)
      else this.receive(message)
    }
    this.settle()
    this.handling = false
  }

  private receive(message: Message): void {
    try {
      this.behavior.receive(message)
    } catch (cause) {
      this.behavior.failed(cause)
      // Nobody else may know of it (I3).
      if (this.stopped !== undefined) this.behavior.refuse(message, this.stopped)
    }
  }

  private settle(): void {
    if (this.stopped !== undefined) return
    try {
      this.behavior.settle()
    } catch (cause) {
      this.behavior.failed(cause)
    }
  }

  /** Lets waiting senders in, in their order, from one flat loop. */
  private admit(): void {
    for (let first = this.senders[0]; first !== undefined; first = this.senders[0]) {
      if (!this.hasRoom(first.message) || !this.offer(first.message)) return
      this.senders.shift()
      first.admitted()
    }
  }

  stop(error: StoreError): void {
    if (this.stopped !== undefined) return
    this.stopped = error
    const waiting = this.senders.splice(0)
    while (this.handled < this.batch.length) {
      this.behavior.refuse(this.batch[this.handled++] as Message, error)
    }
    for (
      let left = Queue.takeUnsafe(this.mailbox);
      left !== undefined;
      left = Queue.takeUnsafe(this.mailbox)
    ) {
      if (Exit.isFailure(left)) break
      this.behavior.refuse(left.value, error)
    }
    for (const sender of waiting) {
      this.behavior.refuse(sender.message, error)
      sender.admitted()
    }
    this.behavior.halt(error)
  }
}

/** Where a request is left. */
export type Door<Message> = Pick<Actor<Message>, "inline" | "tell" | "send" | "wake">

/** How a request is completed, from a flat loop of the actor that finished it; the first call counts. */
export type Reply<A, E> = (exit: Exit.Exit<A, E>) => void

/** Sends a request and waits for its reply. Interrupting the wait does not take the request back. */
export const ask = <Message, A, E>(
  actor: Door<Message>,
  request: (reply: Reply<A, E>) => Message
): Effect.Effect<A, E> => Effect.suspend(() => post(actor, request))

/** Sends a request at once; the answer waits for its reply, or is the reply where it has come already. */
export const post = <Message, A, E>(
  actor: Door<Message>,
  request: (reply: Reply<A, E>) => Message
): Effect.Effect<A, E> => {
  let replied: Exit.Exit<A, E> | undefined
  let wake: ((effect: Effect.Effect<A, E>) => void) | undefined
  const message = request((exit) => {
    if (replied !== undefined) return
    replied = exit
    if (wake !== undefined) actor.wake(() => wake?.(exit))
  })
  const isLeft = actor.inline(message) || actor.tell(message)
  if (replied !== undefined) return replied
  const wait = Effect.callback<A, E>((resume) => {
    wake = resume
    if (replied !== undefined) resume(replied)
  })
  return isLeft ? wait : Effect.andThen(actor.send(message), wait)
}
