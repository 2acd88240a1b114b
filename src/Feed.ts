/**
 * The streams of a store, which end when it is closed.
 *
 * A reader has a queue of its own from when it begins to read, and loses the oldest where it falls behind. Effect's
 * `PubSub` was rejected: shutting one down takes what its readers have not come to, and interrupts them.
 *
 * I1 While nobody reads a stream, nothing is told to it.
 * I2 A reader gets what was told before the end, as far as it was kept, and then the end.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** Has everything told to a listener until what is answered is called. */
export type Listen<A> = (listener: (event: A) => void) => () => void

export class Feed {
  private readonly endings = new Set<() => void>()
  private hasEnded = false

  /** A stream of what is told from when it is read; for a reader that falls behind, the newest `kept` of it. */
  stream<A>(kept: number, listen: Listen<A>): Stream.Stream<A> {
    const reader = Effect.gen({ self: this }, function*() {
      const queue = yield* Queue.sliding<A, Cause.Done>(kept)
      yield* Effect.acquireRelease(
        Effect.sync(() => this.begin(queue, listen)),
        (stop) => Effect.sync(stop)
      )
      return Stream.fromQueue(queue)
    })
    return Stream.unwrap(reader)
  }

  /** Ends all streams, those that are read later included. */
  end(): void {
    this.hasEnded = true
    for (const ending of this.endings) ending()
  }

  private begin<A>(queue: Queue.Queue<A, Cause.Done>, listen: Listen<A>): () => void {
    const ending = (): void => void Queue.endUnsafe(queue)
    if (this.hasEnded) {
      ending()
      return () => {}
    }
    const stop = listen((event) => void Queue.offerUnsafe(queue, event))
    this.endings.add(ending)
    return () => {
      stop()
      this.endings.delete(ending)
    }
  }
}
