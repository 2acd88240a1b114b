/**
 * The flush worker: page images into slots of the page file.
 *
 * It owns the page file and its slots. An image handed to it is a private, sealed copy, so that pages may go on
 * changing in memory. Images that wait together are written together, neighbours in one call.
 *
 * ```
 *   Idle ── Write, Barrier ──▶ Working ── answer: Done ──▶ Idle, or the next job
 * ```
 *
 * I1 Jobs end in the order in which they came, so a Barrier covers every Write before it.
 * I2 A write that failed never counts as written: its slot is set aside and the image goes to another one.
 * I3 After a failed sync every slot written since the last good one is suspect until it has been imaged anew.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { DiskFile } from "../disk/Disk.ts"
import type { Limits } from "../Limits.ts"
import type { StoreError } from "../StoreError.ts"
import type { Place } from "../tree/MapChunk.ts"
import type { PageFile, SealedImage as Image } from "../tree/PageFile.ts"
import type { Pages } from "../tree/Pages.ts"
import * as Actor from "./Actor.ts"

/** How often an image is tried in another slot before its job fails. */
const attemptsMax = 3

/** Most bytes in one write call; a run of neighbours beyond it is cut. */
const runBytesMax = 1024 * 1024

export type Message =
  | {
    readonly _tag: "Write"
    readonly images: ReadonlyArray<Image>
    /** Places in the order of the images. */
    readonly done: Actor.Reply<ReadonlyArray<Place>, StoreError>
  }
  | {
    readonly _tag: "Barrier"
    readonly done: Actor.Reply<void, StoreError>
  }
  | { readonly _tag: "Done"; readonly complete: () => void }

export interface Flush extends Actor.Actor<Message> {
  /** Writes images and answers their places. */
  readonly write: (images: ReadonlyArray<Image>) => Effect.Effect<ReadonlyArray<Place>, StoreError>
  /** Makes everything written so far durable. */
  readonly barrier: Effect.Effect<void, StoreError>
  /** Slots whose content is in doubt since a sync failed. */
  readonly suspects: Set<number>
  readonly counters: { images: number; bytes: number; writes: number; syncs: number; failures: number }
}

export interface Options {
  readonly file: DiskFile
  readonly slots: PageFile
  /** Says which slots it needs no more. */
  readonly pages: Pages
  readonly limits: Limits
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly failed: (cause: unknown) => void
}

export const make = Effect.fnUntraced(
  function*(options: Options): Effect.fn.Return<Flush, never, Scope.Scope> {
    const { file, slots } = options
    const { pageBytes } = options.limits
    const counters = { images: 0, bytes: 0, writes: 0, syncs: 0, failures: 0 }
    const suspects = new Set<number>()
    /** Written since the last good sync. */
    const unsynced = new Set<number>()
    const jobs: Array<Message> = []
    let working = false

    const writeRun = (run: Run): Effect.Effect<void, StoreError> => {
      counters.writes++
      return file.write(run.buffers, run.slot * pageBytes)
    }

    /** Writes `images` into fresh slots, trying others where one fails. */
    const writeImages = Effect.fnUntraced(function*(images: ReadonlyArray<Image>) {
      for (const { slot, version } of options.pages.retired.splice(0)) slots.retire(slot, version)
      const places: Array<Place> = images.map((image) => ({
        slot: slots.allocate(image.version),
        checksum: image.checksum
      }))
      let pending = places.map((_, index) => index)
      for (let attempt = 1; pending.length > 0; attempt++) {
        const failed: Array<number> = []
        let error: StoreError | undefined
        for (const run of runsOf(pending, places, images)) {
          const exit = yield* Effect.exit(writeRun(run))
          if (Exit.isSuccess(exit)) continue
          counters.failures++
          failed.push(...run.indices)
          error = errorOf(exit)
        }
        if (error !== undefined && (attempt === attemptsMax || isHopeless(error))) {
          for (const [index, place] of places.entries()) slots.retire(place.slot, images[index]?.version ?? 0)
          return yield* Effect.fail(error)
        }
        for (const index of failed) {
          const place = places[index] as Place
          slots.quarantine(place.slot)
          places[index] = { ...place, slot: slots.allocate((images[index] as Image).version) }
        }
        pending = failed
        if (pending.length > 0) yield* Effect.sleep(`${10 ** attempt} millis`)
      }
      for (const place of places) unsynced.add(place.slot)
      counters.images += images.length
      counters.bytes += images.length * pageBytes
      return places
    })

    const syncFile = Effect.suspend(() => {
      counters.syncs++
      const covered = [...unsynced]
      unsynced.clear()
      return Effect.tapError(file.sync, () =>
        Effect.sync(() => {
          for (const slot of covered) suspects.add(slot)
        }))
    })

    const work = (effect: Effect.Effect<() => void>): void => {
      working = true
      options.fork(Effect.map(effect, (complete) => actor.answer({ _tag: "Done", complete })))
    }

    /** Takes all writes that wait in a row as one job, so that their neighbours share a call. */
    const next = (): void => {
      const first = jobs.shift()
      if (first === undefined || first._tag === "Done") return
      if (first._tag === "Barrier") {
        return work(Effect.map(Effect.exit(syncFile), (exit) => () => first.done(exit)))
      }
      const writes = [first]
      while (jobs[0]?._tag === "Write") writes.push(jobs.shift() as typeof first)
      work(Effect.map(Effect.exit(writeImages(writes.flatMap((job) => job.images))), (exit) => () => {
        let from = 0
        for (const job of writes) {
          const until = from + job.images.length
          job.done(Exit.map(exit, (places) => places.slice(from, until)))
          from = until
        }
      }))
    }

    const actor = yield* Actor.make<Message>({
      name: "flush",
      capacity: options.limits.mailbox,
      lanes: 1,
      receive: (message) => {
        if (message._tag === "Done") {
          working = false
          message.complete()
        } else {
          jobs.push(message)
        }
      },
      settle: () => {
        if (!working) next()
      },
      parked: () => jobs.length,
      refuse: (message, error) => {
        if (message._tag === "Done") message.complete()
        else message.done(Exit.fail(error))
      },
      halt: (error) => {
        for (const job of jobs.splice(0)) if (job._tag !== "Done") job.done(Exit.fail(error))
      },
      failed: options.failed
    })

    return {
      ...actor,
      write: (images) => Actor.ask(actor, (done): Message => ({ _tag: "Write", images, done })),
      barrier: Actor.ask(actor, (done): Message => ({ _tag: "Barrier", done })),
      suspects,
      counters
    }
  }
)

/** Neighbouring slots that one call can write. */
interface Run {
  readonly slot: number
  readonly indices: Array<number>
  readonly buffers: Array<Uint8Array>
  bytes: number
}

const runsOf = (
  indices: ReadonlyArray<number>,
  places: ReadonlyArray<Place>,
  images: ReadonlyArray<Image>
): ReadonlyArray<Run> => {
  const slotOf = (index: number): number => (places[index] as Place).slot
  const runs: Array<Run> = []
  for (const index of [...indices].sort((a, b) => slotOf(a) - slotOf(b))) {
    const { bytes } = images[index] as Image
    const last = runs.at(-1)
    if (last !== undefined && last.slot + last.indices.length === slotOf(index) && last.bytes < runBytesMax) {
      last.indices.push(index)
      last.buffers.push(bytes)
      last.bytes += bytes.length
    } else {
      runs.push({ slot: slotOf(index), indices: [index], buffers: [bytes], bytes: bytes.length })
    }
  }
  return runs
}

const errorOf = (exit: Exit.Exit<void, StoreError>): StoreError | undefined => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" ? error.value : undefined
}

/** Another slot does not help against a full, read-only or missing disk. */
const isHopeless = (error: StoreError): boolean =>
  error.reason._tag !== "DiskFailed" || error.reason.code !== "EIO"
