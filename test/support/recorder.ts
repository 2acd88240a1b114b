/**
 * An actor that writes down what it handles, and doors to it, for tests of the loop.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Actor from "../../src/actors/loop/Actor.ts"
import { Closed, storeError } from "../../src/StoreError.ts"
import type { StoreError } from "../../src/StoreError.ts"

/** `number` is that of the call; a parked request is replied to when a `Release` comes. */
export type Message =
  | {
    readonly _tag: "Work" | "Park"
    readonly number: number
    readonly done: Actor.Reply<number, StoreError>
  }
  | { readonly _tag: "Release" | "Note"; readonly number: number }
type Request = Message & { readonly _tag: "Work" | "Park" }

export const closed = storeError(new Closed())

/** An actor that writes down what it handles. */
export class Recorder {
  readonly handled: Array<number> = []
  readonly requests: Array<number> = []
  readonly parked: Array<Request> = []
  readonly failures: Array<unknown> = []
  settled = 0
  halted = 0
  onReceive: (message: Message) => void = () => {}
  onSettle: () => void = () => {}
  onFailed: (cause: unknown) => void = () => {}

  readonly make = (options: { readonly capacity: number; readonly lanes?: number }) =>
    Actor.make<Message>({
      name: "recorder",
      capacity: options.capacity,
      lanes: options.lanes ?? 1,
      receive: (message) => this.receive(message),
      settle: () => {
        this.settled++
        this.onSettle()
      },
      parked: () => this.parked.length,
      refuse: (message, error) => {
        if ("done" in message) message.done(Exit.fail(error))
      },
      halt: (error) => {
        this.halted++
        for (const { done } of this.parked.splice(0)) done(Exit.fail(error))
      },
      failed: (cause) => {
        this.failures.push(cause)
        this.onFailed(cause)
      }
    })

  private receive(message: Message): void {
    this.onReceive(message)
    this.handled.push(message.number)
    if ("done" in message) this.requests.push(message.number)
    if (message._tag === "Work") message.done(Exit.succeed(message.number))
    if (message._tag === "Park") this.parked.push(message)
    if (message._tag === "Release") {
      for (const { done, number } of this.parked.splice(0)) done(Exit.succeed(number))
    }
  }
}

export type Recorded = Actor.Actor<Message>

const ignore = (): void => {}
export const work = (number: number, done: Request["done"] = ignore): Message => ({
  _tag: "Work",
  number,
  done
})
export const park = (number: number, done: Request["done"] = ignore): Message => ({
  _tag: "Park",
  number,
  done
})
export const release = (number: number): Message => ({ _tag: "Release", number })
export const note = (number: number): Message => ({ _tag: "Note", number })

/** Has what waits inside released by an answer that comes later, as a disk's would. */
export const releaseLater = (recorder: Recorder, actor: Recorded): void => {
  let due = false
  recorder.onSettle = () => {
    if (due || recorder.parked.length === 0) return
    due = true
    Effect.runFork(Effect.andThen(
      Effect.yieldNow,
      Effect.sync(() => {
        due = false
        actor.answer(release(-1))
      })
    ))
  }
}

export const asked = Actor.ask<Message, number, StoreError>

/** Lets every fiber that can go on do so. */
export const quiet = Effect.repeat(Effect.yieldNow, { times: 20 })

export const seeds = (count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, index) => index + 1)
