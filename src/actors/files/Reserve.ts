/**
 * The reserve: disk space that is set aside while there is plenty, for those who make room when there is none.
 *
 * ```
 *            little is free, or the disk refused to let a file grow
 *   Roomy ──────────────────────────────────────────────────────────▶ Full
 *     ▲                                                                │ checkpoints; removals are taken, and what
 *     └── the reserve is whole, and a segment and a checkpoint fit ────┘ must grow may use up the reserve
 * ```
 *
 * While it is full, commits that add anything are refused; they would find no room later, when it is too late to refuse
 * them. What is free is asked for seldom: in between it is known how much the store itself has taken.
 *
 * I1 Whoever adds is refused before the reserve is touched: it goes only when a file that must grow could not.
 * I2 Writing goes on by itself, when the reserve is whole again and there is room beside it.
 * I3 While it is full, the log has room for what is let in without asking the disk: in its last segment, or in one that
 *    its spare or the reserve becomes. Nobody else is given these while the log needs them. Nobody asks for marks and
 *    for the commits and aborts of large transactions: for them some of the last segment is left.
 *
 * It must not know how a checkpoint makes room, nor wait for one: whoever is refused hears of it at once.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { Disk, DiskFile } from "../../disk/Disk.ts"
import type { Limits } from "../../Limits.ts"
import type { Superblock } from "../../log/Superblock.ts"
import type { Tail } from "../../log/Tail.ts"
import { DiskFull, storeError } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import type { PageFile } from "../../tree/file/PageFile.ts"
import { fanOut } from "../../tree/memory/MapChunk.ts"
import { State } from "../../tree/memory/MapTable.ts"
import type { Pages } from "../../tree/memory/Pages.ts"
import * as MiniPage from "../../tree/page/MiniPage.ts"
import type { Trigger } from "../checkpoint/Triggers.ts"
import type { Intent } from "../commit/Intent.ts"
import { sizeOf } from "../commit/IntentSize.ts"
import type { Size } from "../commit/IntentSize.ts"
import type { Log } from "./LogRoom.ts"
import { LogRoom } from "./LogRoom.ts"
import { ReserveFile } from "./ReserveFile.ts"
import { cappedFile, isNoSpace, Shortage } from "./Shortage.ts"
import type { Hooks as Told, Sizes } from "./Shortage.ts"

/** How long a full store waits before it looks again. */
const retryMillis = 100
/** Checkpoints until what is not needed any more is free: two are retained. */
const checkpointsUntilFree = 2
/** Slots of a checkpoint beside its pages and the chunks that name them: upper chunks and the catalog. */
const otherSlots = 8
/** Leaves with removals that are asked to be merged at a time. */
const ripeMost = 256

export interface Options {
  readonly disk: Disk["Service"]
  readonly directory: string
  readonly limits: Limits
  readonly pages: Pages
  readonly slots: PageFile
  readonly file: Pick<DiskFile, "size">
}

/** What there is once a store takes commits. */
export interface Hooks extends Told {
  /** False once the store is closing or has failed. */
  readonly running: () => boolean
  readonly tail: Pick<Tail, "end" | "segment">
  readonly buffer: { readonly relieved: () => void }
  readonly checkpoint: {
    readonly newest: () => Superblock
    readonly start: (trigger: Trigger) => Effect.Effect<unknown, StoreError>
  }
}

/** Until there is one. */
const noLog: Log = {
  hasSpare: true,
  awaitsSpare: false,
  newest: 0,
  zeroedBytes: 0,
  prepare: Effect.void,
  giveUpSpare: Effect.succeed(false)
}

export class Reserve {
  readonly counters = { looks: 0 }
  readonly aside: ReserveFile
  /** While there is one, commits that add are refused. */
  readonly shortage = new Shortage(() => this.sizes)
  /** Whether commits are measured before they are taken. */
  private isTight = false
  private logRoom: LogRoom
  private hooks: Hooks | undefined
  private working = false
  /** Checkpoints to be taken before it is looked again. */
  private due = 0
  /** What was free when it was asked for last, and what the store had taken until then. */
  private freeBytes = Infinity
  private takenBytes = 0
  /** Room at which it is asked for again. */
  private lookBelow = Infinity
  private readonly options: Options

  constructor(options: Options) {
    this.options = options
    this.aside = new ReserveFile(options.disk, options.directory, options.limits.reserveBytes)
    this.logRoom = new LogRoom(noLog, options.limits.segmentBytes)
  }

  /** The log that it stands behind. */
  behind<A extends Log>(log: A): A {
    this.logRoom = new LogRoom(log, this.options.limits.segmentBytes)
    return log
  }

  /** From here on it looks after itself. */
  serve(hooks: Hooks): void {
    this.hooks = hooks
    this.logRoom.tail = hooks.tail
    this.shortage.serve(hooks)
    this.work()
  }

  /** To be called whenever the log has become longer. */
  check(): void {
    if (this.room < Math.max(this.lookBelow, this.logRoom.nextBytes)) this.work()
  }

  /** Whether something may be written that nobody asked for, to make room. */
  get mayMove(): boolean {
    return !this.isFull || this.segmentsLeft > 0 || this.logRoom.hasRoom
  }

  /** Free at the last look, lacking before writing goes on, and set aside. */
  get sizes(): Sizes {
    const { aside: { bytes, isWhole }, freeBytes, missingBytes } = this
    return { free: freeBytes, missing: missingBytes, reserve: isWhole ? bytes : 0 }
  }

  get isFull(): boolean {
    return this.shortage.isOn
  }

  /** Why a commit is not taken: it adds to a full disk, or there is no room for it. */
  refusal(intent: Intent): StoreError | undefined {
    if (!this.isFull && !this.isTight) return undefined
    const size = sizeOf(intent)
    if (!size.adds) return this.refusalOfUpkeep(size, 1)
    return !this.isFull && this.fits(size.bytes) ? undefined : this.refuse(size.bytes)
  }

  /** The same for what adds nothing; no commits are refused where it is not anybody's. */
  refusalOfUpkeep(size: Omit<Size, "adds">, commits = 0): StoreError | undefined {
    return !this.isFull || this.holds(size) ? undefined : this.refuse(size.bytes, commits)
  }

  /** The same for part of a transaction, which may be given up. */
  refusalOfPiece(bytes: number): StoreError | undefined {
    return !this.isFull && (!this.isTight || this.fits(bytes)) ? undefined : this.refuse(bytes)
  }

  /** Also one that is too large for what is left makes the store look for room: a checkpoint may find some. */
  refuse(bytes: number, commits = 1): StoreError {
    this.fill()
    this.shortage.refused(commits)
    const { freeBytes, options: { directory: path }, shortage: { file } } = this
    const neededBytes = bytes + this.ampleBytes + this.checkpointBytes + this.refillBytes
    return storeError(new DiskFull({ path, freeBytes, neededBytes, file }))
  }

  /** A file could not grow, one ahead of need too; answers whether space would have helped. */
  noticed(error: StoreError): boolean {
    const file = cappedFile(error)
    const helps = isNoSpace(error)
    if (file === undefined && !helps) return false
    this.shortage.file = file
    this.fill()
    return helps
  }

  /**
   * The page file must grow and could not: gives the reserve up, and after it, for a checkpoint, the spare of the log;
   * neither while the log needs it (I3). Answers whether it may be tried again.
   */
  readonly makeRoom = (error: StoreError, user: "eviction" | "checkpoint"): Effect.Effect<boolean> =>
    Effect.gen({ self: this }, function*() {
      if (!this.noticed(error)) return false
      yield* this.aside.know
      const mayGo = this.segmentsLeft > 0
      if ((mayGo || !this.isSegment) && (yield* this.aside.giveUp)) return true
      return mayGo && user === "checkpoint" &&
        (yield* Effect.orElseSucceed(this.logRoom.log.giveUpSpare, () => false))
    })

  /**
   * The log needs a segment of `bytes` whose file could not be made: the reserve becomes it, at `path`, or gives its
   * space up for it where it is smaller. Answers which.
   */
  readonly becomeSegment = (
    error: StoreError,
    path: string,
    bytes: number
  ): Effect.Effect<"file" | "space" | "nothing"> =>
    Effect.gen({ self: this }, function*() {
      if (!this.noticed(error)) return "nothing"
      yield* this.aside.know
      if (this.aside.bytes >= bytes) return (yield* this.aside.become(path)) ? "file" : "nothing"
      return (yield* this.aside.giveUp) ? "space" : "nothing"
    })

  /** What the reserve lacks. */
  private get refillBytes(): number {
    return this.aside.isWhole ? 0 : this.aside.bytes
  }

  /** Whether the reserve is as good as a segment. */
  private get isSegment(): boolean {
    return this.aside.isWhole && this.aside.bytes >= this.logRoom.fileBytes
  }

  /** Segments that the log can go on to without asking the disk. */
  private get segmentsLeft(): number {
    return this.logRoom.left(Number(this.isSegment))
  }

  /** Room at which writing goes on: more than that at which it ends, so that it does not go on for a moment only. */
  private get ampleBytes(): number {
    return this.logRoom.nextBytes + this.options.limits.segmentBytes / 4
  }

  /** What is lacking before writing goes on. */
  private get missingBytes(): number {
    const { limits: { pageBytes } } = this.options
    if (this.shortage.file !== undefined) {
      return Math.max(pageBytes, this.logRoom.nextBytes, this.checkpointBytes)
    }
    const wanted = this.ampleBytes + this.refillBytes
    return this.freeBytes === Infinity ? 0 : Math.max(0, wanted - this.roomToAdd)
  }

  /** By how much the next checkpoint makes the page file longer, at most; negative where there are slots to spare. */
  private get slotBytes(): number {
    const { limits: { pageBytes }, pages, slots } = this.options
    const changed = pages.changedPages + pages.uncaptured
    const chunks = Math.min(changed, Math.ceil(pages.map.bound / fanOut(pageBytes)))
    return (changed + chunks + otherSlots - slots.freeCount) * pageBytes
  }

  private get checkpointBytes(): number {
    return Math.max(0, this.slotBytes)
  }

  private get spareSlotBytes(): number {
    return Math.max(0, -this.slotBytes)
  }

  /** Bytes that files of the store have grown by, and will when all slots are written that are in the books. */
  private get grownBytes(): number {
    return this.logRoom.log.zeroedBytes + this.options.slots.slots * this.options.limits.pageBytes
  }

  /** What is left for those who make room. */
  private get lastRoom(): number {
    return this.room + this.spareSlotBytes + (this.aside.isWhole ? this.aside.bytes : 0)
  }

  /** What is free, beside what the next checkpoint needs. */
  private get room(): number {
    return this.freeBytes - (this.grownBytes - this.takenBytes) - this.checkpointBytes
  }

  /** The same with what is free in the page file, which is as good where the next segment has its file. */
  private get roomToAdd(): number {
    return this.room < this.logRoom.nextBytes ? this.room : this.room + this.spareSlotBytes
  }

  /** Whether there is room for what adds. */
  private fits(bytes: number): boolean {
    const { logRoom } = this
    if (2 * bytes <= this.room - logRoom.nextBytes) return true
    return logRoom.holds(bytes, 0) && 2 * bytes <= this.roomToAdd - logRoom.nextBytes
  }

  /** Whether log and page file have room for what adds nothing (I3). */
  private holds({ bytes, writes }: Omit<Size, "adds">): boolean {
    const { limits, pages } = this.options
    if (this.hooks === undefined) return true
    const { checkpoint, tail } = this.hooks
    // A checkpoint comes before there is more log than it can soon give up.
    if (tail.end - checkpoint.newest().cut.lsn > limits.segmentBytes) return false
    // Leaves that it changes take slots: a checkpoint must be able to free some before there are more of them.
    if (this.lastRoom < Math.min(writes, pages.map.used) * limits.pageBytes) return false
    return this.logRoom.holds(bytes, Number(this.isSegment))
  }

  private fill(): void {
    if (!this.isFull) this.due = checkpointsUntilFree
    this.shortage.begin()
    this.work()
  }

  private work(): void {
    const { hooks } = this
    if (this.working || hooks === undefined || !hooks.running()) return
    this.working = true
    hooks.fork(Effect.ensuring(
      this.rounds(hooks),
      Effect.sync(() => {
        this.working = false
      })
    ))
  }

  private rounds(hooks: Hooks): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      yield* this.look
      while (this.isFull && hooks.running()) {
        this.ripen(hooks)
        if (this.options.pages.changedPages > 0) this.due = checkpointsUntilFree
        while (this.due > 0 && hooks.running()) {
          const { lsn } = hooks.checkpoint.newest().cut
          if (Exit.isFailure(yield* Effect.exit(hooks.checkpoint.start("pressure")))) break
          // One that went further is followed by another: the log stays from where the older of two was cut.
          this.due = Math.max(hooks.checkpoint.newest().cut.lsn > lsn ? 1 : 0, this.due - 1)
        }
        const before = this.freeBytes
        yield* this.look
        // Each checkpoint moves some pages away from the end of their file: as long as that helps, there are more.
        if (this.freeBytes > before) this.due = 1
        if (this.isFull) yield* Effect.sleep(retryMillis)
      }
    })
  }

  /** Has removals merged into their leaves, which hold what was removed until then, large values in the log too. */
  private ripen({ buffer }: Hooks): void {
    const { limits: { pageBytes }, pages: { arena, map, ripe } } = this.options
    // Each takes a slot before a checkpoint frees the one that it had.
    const most = Math.min(ripeMost, this.lastRoom / pageBytes / 2)
    let count = 0
    for (let id = 1; id < map.bound && count < most; id++) {
      const address = map.mini[id] as number
      if (address < 0 || ((map.state[id] as number) & State.Mini) === 0) continue
      if (MiniPage.tombstones(arena.wordsOf(address), address & arena.mask) === 0) continue
      ripe.push(id)
      count++
    }
    if (count > 0) buffer.relieved()
  }

  private readonly look: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    yield* this.ask
    // First the log, so that removals go on.
    let mayGrow = true
    if (this.isFull && !this.logRoom.log.hasSpare && this.room >= this.logRoom.nextBytes) {
      const prepared = yield* Effect.result(this.logRoom.log.prepare)
      mayGrow = Result.isSuccess(prepared) || cappedFile(prepared.failure) === undefined
      yield* this.ask
    }
    const ample = this.ampleBytes
    if (!this.aside.isKnown || (!this.aside.isWhole && this.room >= ample + this.aside.bytes)) {
      yield* this.aside.fill(this.room - this.logRoom.nextBytes)
      yield* this.ask
    }
    if (this.room < this.logRoom.nextBytes || (this.aside.isKnown && !this.aside.isWhole)) this.fill()
    else if (this.roomToAdd >= ample && this.due === 0 && mayGrow) this.shortage.end()
    this.lookBelow = this.room / 2
    this.isTight = this.lookBelow < this.logRoom.nextBytes + 2 * this.options.limits.transactionBytes
  })

  private readonly ask: Effect.Effect<void> = Effect.suspend(() => {
    const { directory, disk, file, limits: { pageBytes }, slots } = this.options
    this.counters.looks++
    return Effect.map(Effect.exit(Effect.all([disk.freeBytes(directory), file.size])), (exit) => {
      // Where nobody can say what is free, only what is refused tells.
      this.freeBytes = Exit.isSuccess(exit) ? exit.value[0] : Infinity
      const unwritten = Exit.isSuccess(exit) ? Math.max(0, slots.slots * pageBytes - exit.value[1]) : 0
      this.takenBytes = this.grownBytes - unwritten
    })
  })
}
