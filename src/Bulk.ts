/**
 * Loading many records: an iterable or a stream of entries, at the rate of the log.
 *
 * Entries go the way that everything goes, through the log, in transactions of about `chunkBytes` each. So a load
 * that is cut short leaves what it has committed, a prefix of its input, and to run it again from the beginning is to
 * put the same records once more. What makes it fast is what it does without: no effect, no read set and no map per
 * record, and one wait for the disk, at the end. Keys that ascend fill each leaf to the brim, one after another.
 *
 * I1 Entries are committed in their order, and an entry that comes twice has its last value.
 * I2 Once it answers, all of it is as durable as it was asked to be.
 *
 * For all or nothing there are puts in `Tx.transact`, whose body may write more than memory holds. Rejected: making
 * leaves beside the log, which would make the log lie, and refusing keys that do not ascend, which are only slower.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { checkDurability } from "./Given.ts"
import type { Keyspace } from "./Keyspace.ts"
import type { Durability } from "./Limits.ts"
import { inlinePairBytesOf } from "./Limits.ts"
import { PackedPuts } from "./log/PackedPuts.ts"
import type { Declared, Machine } from "./Machine.ts"
import { Snapshot } from "./Snapshot.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import { LimitExceeded, Nested, storeError } from "./StoreError.ts"

/** How far a load has come: what is counted here is committed, and no crash of the process loses it out of order. */
export interface Progress {
  readonly entries: number
  /** Bytes of their keys and values as they are stored. */
  readonly bytes: number
  /** LSN of the last transaction; `Store.awaitDurable` of one more waits until it survives a power cut. */
  readonly lsn: number
}

export interface Options {
  /** When the load counts as done; the store's default where absent. */
  readonly durability?: Durability | undefined
  /** Told after each transaction. */
  readonly progress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

/** Keys and values of one transaction: enough to make its cost vanish, few enough to be applied in one slice. */
const chunkBytes = 64 * 1024
const chunkEntries = 512

/**
 * Puts all entries, later ones over earlier ones of the same key. Any order will do; ascending keys, as
 * `Keyspace.range` answers them, are the fastest. Fails with what the entries fail with, and with the store's errors;
 * what was committed by then stays. Inside a transaction it fails with `Nested`.
 */
export const load = <K, V, P, E = never, R = never>(
  keyspace: Keyspace<K, V, P>,
  entries: Iterable<readonly [K, V]> | Stream.Stream<readonly [K, V], E, R>,
  options: Options = {}
): Effect.Effect<Progress, E | StoreError, R | Store> =>
  Effect.withFiber((fiber) => {
    checkDurability(options.durability)
    const { machine } = Context.getUnsafe(fiber.context, Store)
    // It would commit beside the transaction, and in its exclusive turn wait for that to end.
    if (Context.getOrUndefined(fiber.context, Snapshot)?.joins(machine) === true) {
      return Effect.fail(storeError(new Nested({ what: "A bulk load" })))
    }
    return Effect.suspend(() => {
      const loader = new Loader(machine, keyspace, options)
      const loaded: Effect.Effect<void, E | StoreError, R> = Stream.isStream(entries)
        ? Stream.runForEachArray(entries, (some) => loader.putAll(some[Symbol.iterator]()))
        : Effect.suspend(() => loader.putAll(entries[Symbol.iterator]()))
      return Effect.andThen(loaded, Effect.suspend(() => loader.end))
    })
  })

class Loader<K, V, P> {
  private readonly machine: Machine
  private readonly keyspace: Keyspace<K, V, P>
  private readonly options: Options
  /** What is to be one transaction, as its record will have it. */
  private readonly chunk: PackedPuts
  private readonly progress = { entries: 0, bytes: 0, lsn: 0 }

  constructor(machine: Machine, keyspace: Keyspace<K, V, P>, options: Options) {
    const { inlineValueBytes, keyBytes, pageBytes } = machine.limits
    this.machine = machine
    this.keyspace = keyspace
    this.options = options
    this.chunk = new PackedPuts({
      bytes: 2 * chunkBytes,
      keyBytes,
      inlineValueBytes,
      inlinePairBytes: inlinePairBytesOf(pageBytes)
    })
  }

  private get isFull(): boolean {
    return this.chunk.count === chunkEntries || this.chunk.payloadBytes >= chunkBytes
  }

  putAll(entries: Iterator<readonly [K, V]>): Effect.Effect<void, StoreError> {
    const more: Effect.Effect<void, StoreError> = Effect.suspend(() => {
      while (!this.isFull) {
        const next = entries.next()
        if (next.done === true) return Exit.void
        const refusal = this.put(next.value[0], next.value[1])
        if (refusal !== undefined) return refusal
      }
      return Effect.andThen(this.commit, further)
    })
    // The log is written while the event loop turns. Without a turn it was not, until the load had to wait for it.
    const further = Effect.andThen(Effect.yieldNow, more)
    return more
  }

  /** Commits the rest, and waits until all of it is durable. */
  readonly end: Effect.Effect<Progress, StoreError> = Effect.suspend(() => {
    const { durability = this.machine.durability } = this.options
    return Effect.flatMap(this.commit, () => {
      const { entries, lsn } = this.progress
      const isDurable = durability === "memory" || entries === 0
      return Effect.as(isDurable ? Exit.void : this.machine.awaitDurable(lsn + 1), { ...this.progress })
    })
  })

  private put(key: K, value: V): Exit.Exit<never, StoreError> | undefined {
    const { chunk, keyspace, machine: { limits: { keyBytes, valueBytes } } } = this
    const { keyAt } = chunk
    const length = keyspace.encodeKeyInto(key, chunk.bytes, keyAt)
    if (typeof length !== "number") return length
    if (length > keyBytes) return exceeded("keyBytes", length, keyBytes)
    const stored = keyspace.encodeValueOnce(value)
    if (!(stored instanceof Uint8Array)) return stored
    if (stored.length > valueBytes) return exceeded("valueBytes", stored.length, valueBytes)
    chunk.add(length, stored)
    return undefined
  }

  /** Commits what has been gathered. It is not interruptible, so that progress says what was committed. */
  private readonly commit: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const { chunk, machine, options, progress } = this
    const { layout, name, reducer }: Declared = this.keyspace
    if (chunk.count === 0) return Exit.void
    const intent = {
      name,
      layout,
      reducer,
      cleared: false,
      dropped: false,
      writes: () => chunk,
      packed: chunk
    }
    const committed = machine.submit({ keyspaces: () => [intent], durability: "memory" })
    const told = Effect.map(committed, (lsn) => {
      progress.entries += chunk.count
      progress.bytes += chunk.payloadBytes
      progress.lsn = lsn ?? progress.lsn
      chunk.clear()
    })
    const tell = options.progress
    return Effect.uninterruptible(
      tell === undefined ? told : Effect.andThen(told, Effect.suspend(() => tell({ ...progress })))
    )
  })
}

const exceeded = (limit: string, actual: number, maximum: number): Exit.Exit<never, StoreError> =>
  Exit.fail(storeError(new LimitExceeded({ limit, actual, maximum })))
