/**
 * One life of a store under a crash test: what it commits goes into a chapter as it is handed to the log.
 *
 * Every step is drawn from a seed. Transactions do not look at anything, so that none of them runs twice.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Disk } from "../../src/disk/Disk.ts"
import type { Durability } from "../../src/Limits.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Chapter } from "./crashHistory.ts"
import { signed } from "./crashHistory.ts"
import type { Random } from "./random.ts"
import type { Opened } from "./storeDoor.ts"
import { look, open, perform } from "./storeDoor.ts"
import type { Step } from "./storeModel.ts"
import type { Options } from "./storeSize.ts"

const durabilities = ["memory", "buffered", "synced"] as const

/** How large keys and values are drawn, and how many different keys there are. */
export interface Drawing {
  readonly keys: number
  readonly valueBytes: number
  /** How likely a value is longer than any leaf would keep. */
  readonly large: number
}

/** Counts the transactions of all lives of a disk. */
export interface Names {
  count: number
}

/** What a life begins with, beside its store. */
export interface Beginning {
  readonly chance: Random
  readonly chapter: Chapter
  readonly drawing: Drawing
  readonly names: Names
}

export class CrashLife {
  readonly chance: Random
  readonly chapter: Chapter
  readonly drawing: Drawing
  private readonly names: Names
  private readonly opened: Opened

  constructor(options: Beginning & { readonly opened: Opened }) {
    this.chance = options.chance
    this.chapter = options.chapter
    this.drawing = options.drawing
    this.names = options.names
    this.opened = options.opened
  }

  /** The same life with another chapter. */
  at(chapter: Chapter): CrashLife {
    const { chance, drawing, names, opened } = this
    return new CrashLife({ chance, drawing, names, opened, chapter })
  }

  get store(): Store.Store["Service"] {
    return this.opened.store
  }

  get durableLsn(): number {
    return this.store.machine.parts.tail.durableLsn
  }

  /** One write: most of the keys come again and again. */
  step(): Step {
    const { chance, drawing } = this
    const keyspace = chance.bool(0.7) ? "one" : "two"
    const key = `k${String(chance.int(drawing.keys)).padStart(3, "0")}`
    const kind = chance.next()
    if (kind < 0.12) return { _tag: "remove", keyspace, key }
    if (kind < 0.2) {
      const operand = String.fromCharCode(chance.int(256)) + "\0".repeat(7)
      return { _tag: "merge", keyspace: "sums", key, operand }
    }
    const letter = String.fromCharCode(97 + chance.int(26))
    const bytes = chance.bool(drawing.large) ? 400 + chance.int(500) : 1 + chance.int(drawing.valueBytes)
    return { _tag: "put", keyspace, key, value: letter.repeat(bytes) }
  }

  steps(count: number): ReadonlyArray<Step> {
    return Array.from({ length: count }, () => this.step())
  }

  durability(): Durability {
    return this.chance.pick(durabilities)
  }

  /** Commits steps; what became of it is in the chapter. */
  commit(steps: ReadonlyArray<Step>, durability: Durability): Effect.Effect<void, StoreError> {
    const { chapter, store } = this
    const own = [...steps, signed(++this.names.count)]
    let index = 0
    const observed: Store.Store["Service"] = {
      ...store,
      machine: {
        ...store.machine,
        submit: (intent, stream) => {
          index = chapter.submit(own)
          return store.machine.submit(intent, stream)
        }
      }
    }
    const commit = Tx.commit({ durability })(Effect.suspend(() => perform(own, [])))
    return Effect.map(
      Effect.provideService(commit, Store.Store, observed),
      ({ lsn }) => chapter.acknowledge(index, lsn, durability)
    )
  }

  /** Some commits beside each other. */
  burst(most: number): Effect.Effect<void, StoreError> {
    const { chance } = this
    const jobs = Array.from(
      { length: 1 + chance.int(most) },
      () => this.commit(this.steps(1 + chance.int(3)), this.durability())
    )
    return this.beside(jobs)
  }

  /** Runs effects beside each other, and waits for all of them. */
  beside(effects: ReadonlyArray<Effect.Effect<unknown, StoreError>>): Effect.Effect<void, StoreError> {
    return Effect.gen(function*() {
      const fibers = yield* Effect.forEach(
        effects,
        (effect) => Effect.forkChild(effect, { startImmediately: true })
      )
      for (const fiber of fibers) yield* Fiber.join(fiber)
    })
  }

  /** Takes a checkpoint: what was acknowledged before it began is durable then. */
  readonly checkpoint: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const { chapter } = this
    const { last } = chapter
    const all = chapter.lsns.every((lsn) => lsn !== undefined)
    return Effect.map(this.store.checkpoint, () => {
      if (all) chapter.synced = Math.max(chapter.synced, last)
      chapter.handed = Math.max(chapter.handed, chapter.synced)
    })
  })

  /** Reads some keys, each by itself: those that are not in memory are loaded beside each other. */
  reads(count: number): Effect.Effect<void, StoreError> {
    const { chance, drawing, store } = this
    const keys = Array.from({ length: count }, () => `k${String(chance.int(drawing.keys)).padStart(3, "0")}`)
    return this.beside(keys.map((key) =>
      Effect.provideService(
        Snapshot.read()(look({ _tag: "get", keyspace: chance.bool(0.7) ? "one" : "two", key })),
        Store.Store,
        store
      )
    ))
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => this.opened.close)
}

/** Opens a store and begins its life. */
export const live = (
  options: Options,
  life: Beginning
): Effect.Effect<CrashLife, StoreError, Disk> =>
  Effect.map(open(options), (opened) => new CrashLife({ ...life, opened }))
