/**
 * The flush worker: page images into slots of the page file.
 *
 * It owns the page file and its slots. An image handed to it is a private, sealed copy, so that pages may go on
 * changing in memory. Images that wait together are written together, neighbours in one call.
 *
 * ```
 *   Idle ── Write, Barrier, Trim ──▶ Working ── answer: Done ──▶ Idle, or the next job
 * ```
 *
 * I1 Jobs end in the order in which they came, so a Barrier covers every Write before it.
 * I2 A write that failed never counts as written: its slot is set aside and the image goes to another one.
 * I3 After a failed sync every slot written since the last good one is suspect until it has been imaged anew.
 * I4 At most `stagingBytes` of images wait or are being written, unless it is one write alone; whoever has more waits.
 * I5 The file is cut while nothing is being written, and never below what the books or a superblock call in use.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { DiskFile } from "../disk/Disk.ts"
import type { Limits } from "../Limits.ts"
import type { StoreError } from "../StoreError.ts"
import type { PageFile, SealedImage as Image } from "../tree/file/PageFile.ts"
import { cutTo } from "../tree/file/Shrink.ts"
import type { Place } from "../tree/memory/MapChunk.ts"
import type { Pages } from "../tree/memory/Pages.ts"
import * as Actor from "./loop/Actor.ts"

/** How often an image is tried in another slot before its job fails. */
const attemptsMax = 3

/** Runs written at a time. */
const writesInFlight = 8

/** Most bytes in one write call; a run of neighbours beyond it is cut. */
const runBytesMax = 1024 * 1024

/** What images are written for: to make room, for a checkpoint, or to make the file shorter. */
export type Purpose = "eviction" | "checkpoint" | "move"

export type Message =
  | {
    readonly _tag: "Write"
    readonly purpose: Purpose
    readonly images: ReadonlyArray<Image>
    /** Places in the order of the images. */
    readonly done: Actor.Reply<ReadonlyArray<Place>, StoreError>
  }
  | {
    readonly _tag: "Barrier"
    readonly done: Actor.Reply<void, StoreError>
  }
  | {
    readonly _tag: "Trim"
    readonly floor: number
    readonly done: Actor.Reply<number, StoreError>
  }
  | { readonly _tag: "Done"; readonly complete: () => void }

export interface Flush extends Actor.Actor<Message> {
  /** Writes images, by default of a checkpoint, and answers their places. */
  readonly write: (
    images: ReadonlyArray<Image>,
    purpose?: Purpose
  ) => Effect.Effect<ReadonlyArray<Place>, StoreError>
  /** Makes everything written so far durable. */
  readonly barrier: Effect.Effect<void, StoreError>
  /**
   * Gives free slots at the end of the file back to the disk, none below slot `floor`: what the retained superblocks
   * say is in use. Answers the bytes by which the file became shorter; it keeps some slack.
   */
  readonly trim: (floor: number) => Effect.Effect<number, StoreError>
  /** Bytes of images that wait or are being written. */
  readonly held: () => number
  /** Slots whose content is in doubt since a sync failed. */
  readonly suspects: Set<number>
  readonly counters: {
    images: number
    bytes: number
    writes: number
    syncs: number
    failures: number
    truncations: number
    /** Images that are in their slots. */
    readonly by: Record<Purpose, number>
  }
}

export interface Options {
  readonly file: DiskFile
  readonly slots: PageFile
  /** Says which slots it needs no more. */
  readonly pages: Pages
  readonly limits: Limits
  /** Gives up space that was set aside, where the page file cannot grow; answers whether to write again. */
  readonly makeRoom?: (error: StoreError, user: "eviction" | "checkpoint") => Effect.Effect<boolean>
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly failed: (cause: unknown) => void
}

export const make = Effect.fnUntraced(
  function*(options: Options): Effect.fn.Return<Flush, never, Scope.Scope> {
    const live = new Live(options)
    const actor = yield* Actor.make<Message>({
      name: "flush",
      capacity: options.limits.mailbox,
      lanes: 1,
      admit: (message) => live.admit(message),
      receive: (message) => live.receive(message),
      settle: () => live.settle(),
      parked: () => live.jobs.length,
      refuse: (message, error) => {
        if (message._tag === "Done") message.complete()
        else message.done(Exit.fail(error))
      },
      halt: (error) => {
        for (const job of live.jobs.splice(0)) job.done(Exit.fail(error))
      },
      failed: options.failed
    })
    live.answer = actor.answer
    return {
      ...actor,
      write: (images, purpose = "checkpoint") =>
        Actor.ask(actor, (done): Message => ({ _tag: "Write", purpose, images, done })),
      barrier: Actor.ask(actor, (done): Message => ({ _tag: "Barrier", done })),
      trim: (floor) => Actor.ask(actor, (done): Message => ({ _tag: "Trim", floor, done })),
      held: () => live.held,
      suspects: live.suspects,
      counters: live.counters
    }
  }
)

type Job = Exclude<Message, { readonly _tag: "Done" }>

class Live {
  readonly jobs: Array<Job> = []
  readonly counters: Flush["counters"] = {
    images: 0,
    bytes: 0,
    writes: 0,
    syncs: 0,
    failures: 0,
    truncations: 0,
    by: { eviction: 0, checkpoint: 0, move: 0 }
  }
  readonly suspects = new Set<number>()
  answer: (message: Message) => void = () => {}
  private readonly options: Options
  /** Written since the last good sync. */
  private readonly unsynced = new Set<number>()
  private working = false
  held = 0

  constructor(options: Options) {
    this.options = options
  }

  /** Counts what a write brings, and lets it wait where that is too much (I4). */
  admit(message: Message): boolean {
    if (message._tag !== "Write") return true
    const held = this.held + bytesOf(message)
    if (this.held > 0 && held > this.options.limits.stagingBytes) return false
    this.held = held
    return true
  }

  receive(message: Message): void {
    if (message._tag !== "Done") return void this.jobs.push(message)
    this.working = false
    message.complete()
  }

  /** Takes all writes that wait in a row as one job, so that their neighbours share a call. */
  settle(): void {
    if (this.working) return
    const first = this.jobs.shift()
    if (first === undefined) return
    if (first._tag === "Barrier") {
      return this.work(Effect.map(Effect.exit(this.sync), (exit) => () => first.done(exit)))
    }
    if (first._tag === "Trim") {
      return this.work(Effect.map(Effect.exit(this.trim(first.floor)), (exit) => () => first.done(exit)))
    }
    const writes = [first]
    while (this.jobs[0]?._tag === "Write") writes.push(this.jobs.shift() as typeof first)
    const user = writes.some(({ purpose }) => purpose === "checkpoint") ? "checkpoint" : "eviction"
    const written = this.write(writes.flatMap((job) => job.images), user)
    this.work(Effect.map(Effect.exit(written), (exit) => () => {
      let from = 0
      for (const job of writes) {
        const until = from + job.images.length
        this.held -= bytesOf(job)
        if (Exit.isSuccess(exit)) this.counters.by[job.purpose] += job.images.length
        job.done(Exit.map(exit, (places) => places.slice(from, until)))
        from = until
      }
    }))
  }

  /** No slot is handed out until this job has ended, so nothing is written where the file is cut (I5). */
  private trim(floor: number): Effect.Effect<number, StoreError> {
    const { file, limits: { pageBytes }, slots } = this.options
    return Effect.suspend(() => {
      this.retire()
      slots.trim(floor)
      return Effect.flatMap(file.size, (bytes) => {
        const end = cutTo(slots.slots, bytes, pageBytes)
        if (end === undefined) return Effect.succeed(0)
        this.counters.truncations++
        return Effect.as(file.truncate(end), bytes - end)
      })
    })
  }

  private work(effect: Effect.Effect<() => void>): void {
    this.working = true
    this.options.fork(Effect.map(effect, (complete) => this.answer({ _tag: "Done", complete })))
  }

  private retire(): void {
    const { pages, slots } = this.options
    for (const { slot, version } of pages.retired.splice(0)) slots.retire(slot, version)
  }

  /** Writes images into fresh slots, trying others where one fails. */
  private readonly write = Effect.fnUntraced({ self: this }, function*(
    images: ReadonlyArray<Image>,
    user: "eviction" | "checkpoint"
  ) {
    const { limits, makeRoom = noRoom, slots } = this.options
    this.retire()
    const places = images.map(({ checksum, version }): Place => ({ slot: slots.allocate(version), checksum }))
    let pending = places.map((_, index) => index)
    for (let attempt = 1; pending.length > 0; attempt++) {
      let { error, failed } = yield* this.tryWrite(pending, places, images)
      if (error !== undefined && (yield* makeRoom(error, user))) {
        ;({ error, failed } = yield* this.tryWrite(failed, places, images))
      }
      if (error !== undefined && (attempt === attemptsMax || isHopeless(error))) {
        for (const [index, place] of places.entries()) {
          slots.retire(place.slot, (images[index] as Image).version)
        }
        return yield* Effect.fail(error)
      }
      for (const index of failed) {
        const { checksum, slot } = places[index] as Place
        slots.quarantine(slot)
        places[index] = { slot: slots.allocate((images[index] as Image).version), checksum }
      }
      pending = failed
      if (pending.length > 0) yield* Effect.sleep(10 ** attempt)
    }
    for (const place of places) this.unsynced.add(place.slot)
    this.counters.images += images.length
    this.counters.bytes += images.length * limits.pageBytes
    return places
  })

  /** Writes the pending images once; answers those that failed, and the last error. */
  private readonly tryWrite = Effect.fnUntraced({ self: this }, function*(
    pending: ReadonlyArray<number>,
    places: ReadonlyArray<Place>,
    images: ReadonlyArray<Image>
  ) {
    const { file, limits } = this.options
    const failed: Array<number> = []
    let error: StoreError | undefined
    yield* Effect.forEach(runsOf(pending, places, images), ({ buffers, indices, slot }) => {
      this.counters.writes++
      return Effect.catch(file.write(buffers, slot * limits.pageBytes), (cause) => {
        this.counters.failures++
        failed.push(...indices)
        error = cause
        return Effect.void
      })
    }, { concurrency: writesInFlight, discard: true })
    return { failed, error }
  })

  private readonly sync: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    this.counters.syncs++
    const covered = [...this.unsynced]
    this.unsynced.clear()
    return Effect.tapError(this.options.file.sync, () =>
      Effect.sync(() => {
        for (const slot of covered) this.suspects.add(slot)
      }))
  })
}

const bytesOf = ({ images }: { readonly images: ReadonlyArray<Image> }): number =>
  images.reduce((sum, { bytes }) => sum + bytes.length, 0)

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

const noRoom = (): Effect.Effect<boolean> => Effect.succeed(false)

/** Another slot does not help against a full, read-only or missing disk. */
const isHopeless = (error: StoreError): boolean =>
  error.reason._tag !== "DiskFailed" || error.reason.code !== "EIO"
