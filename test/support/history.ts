/**
 * A history: what transactions of several fibers read, wrote and were told, in the lives of one store.
 *
 * It says what a user could see, and one thing more: the LSN under which the log took a commit, so that one whose
 * answer was lost in a crash has a known place as well. Checkers judge a history and know nothing of the engine.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Durability } from "../../src/Limits.ts"
import type * as Store from "../../src/Store.ts"
import type { Result, State, Step } from "./storeModel.ts"

/** One run of a body: only the last of a transaction can be committed. */
export interface Attempt {
  /** Exclusive bound of the commits that it sees. */
  readonly at: number
  /** What expires at this time or before is not there. */
  readonly now?: number
  /** What was carried out to its end. */
  readonly steps: Array<Step>
  /** Answers of these steps, and perhaps of a step that was not. */
  readonly results: Array<Result>
}

export type Outcome =
  | { readonly _tag: "committed"; readonly lsn: number }
  /** The body failed, and so nothing was written. */
  | { readonly _tag: "failed" }
  | { readonly _tag: "interrupted" }
  /** A serial that had committed before, perhaps under this LSN. */
  | { readonly _tag: "repeated"; readonly lsn: number | undefined }
  /** The store failed: it may have been committed, or not. */
  | { readonly _tag: "unknown" }

/** What a session commits. */
export interface Serial {
  readonly name: string
  readonly serial: number
}

/** `transact` and `read` are the boundaries, `raw` a write through the door for hot loops. */
export interface Transaction {
  readonly id: number
  readonly door: "transact" | "read" | "raw"
  readonly durability: Durability
  /** Times count events of the history. */
  readonly invoked: number
  readonly ended: number
  readonly attempts: ReadonlyArray<Attempt>
  /** Under which LSN the log took it, if it did. */
  readonly appended: number | undefined
  readonly outcome: Outcome
  /** Whether its `onCommit` ran. */
  readonly hooked: boolean
  /** There where it was answered before anybody could see it, as a raw door may while the tree is behind. */
  readonly unseen?: true
  /** Of which session it is, if it is of one. */
  readonly session?: Serial
}

/** How a life ended. Closed: all was let go of in order. Killed: the process died. Cut: the power did. */
export type End = "closed" | "killed" | "cut"

export interface Life {
  /** What was there when the store was opened. */
  readonly found: State
  /** When that was. */
  readonly foundAt: number
  readonly transactions: ReadonlyArray<Transaction>
  /** What sessions were told when they were opened, once each, before they committed anything. */
  readonly sessions: ReadonlyArray<Serial>
  /** Everything below was promised to survive, by `awaitDurable` or a checkpoint. */
  readonly promised: number
  /** When its end began; promises about the order in real time end here. */
  readonly broken: number
  readonly end: End
}

/** From the best to the worst. */
const ends: ReadonlyArray<End> = ["closed", "killed", "cut"]

/** Lives one after another; the last one only shows what was left. */
export type History = ReadonlyArray<Life>

type Writable<A> = { -readonly [K in keyof A]: A[K] }
export type Entry = Writable<Transaction> & { readonly attempts: Array<Attempt> }
export type OpenLife = Writable<Life> & {
  readonly transactions: Array<Entry>
  readonly sessions: Array<Serial>
}

/** The transaction that a fiber is in, for whoever watches the log. */
const Recorded: Context.Reference<Entry | undefined> = Context.Reference("test/history/Recorded", {
  defaultValue: (): Entry | undefined => undefined
})

export const recorded = (entry: Entry) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Recorded, entry)

/** The same store; what it hands to the log is noted in the history. */
export const watched = (store: Store.Store["Service"]): Store.Store["Service"] => {
  const { machine } = store
  // No effect around it: an answer that is there at once must be seen to be.
  const submit: typeof machine.submit = (intent, stream) => {
    const fiber = Fiber.getCurrent()
    const entry = fiber === undefined ? undefined : Context.get(fiber.context, Recorded)
    const appended = (lsn: number): void => {
      intent.appended?.(lsn)
      if (entry !== undefined) entry.appended = lsn
    }
    // Whatever an intent is: a copy would lose what it has of its class.
    return machine.submit(Object.assign(Object.create(intent), { appended }), stream)
  }
  return { ...store, machine: { ...machine, submit } }
}

/** Writes a history down. */
export class Recorder {
  readonly lives: Array<OpenLife> = []
  private time = 0
  private ids = 0

  get life(): OpenLife {
    return this.lives.at(-1) as OpenLife
  }

  get isBroken(): boolean {
    return this.life.broken < Infinity
  }

  now(): number {
    return ++this.time
  }

  open(found: State, foundAt: number): void {
    this.lives.push({
      found,
      foundAt,
      transactions: [],
      sessions: [],
      promised: 0,
      broken: Infinity,
      end: "closed"
    })
  }

  begin(door: Transaction["door"], durability: Durability): Entry {
    const entry: Entry = {
      id: ++this.ids,
      door,
      durability,
      invoked: this.now(),
      ended: Infinity,
      attempts: [],
      appended: undefined,
      outcome: { _tag: "unknown" },
      hooked: false
    }
    this.life.transactions.push(entry)
    return entry
  }

  end(entry: Entry, outcome: Outcome): void {
    entry.outcome = outcome
    entry.ended = this.now()
  }

  /** The end of this life has begun, or has become a worse one. */
  breaks(end: End): void {
    this.worsens(end)
    this.life.broken = Math.min(this.life.broken, this.now())
  }

  /** What was not durable when it ended may be lost later. */
  worsens(end: End): void {
    if (ends.indexOf(end) > ends.indexOf(this.life.end)) this.life.end = end
  }

  promise(lsn: number): void {
    this.life.promised = Math.max(this.life.promised, lsn)
  }
}
