/**
 * What was found damaged in a store: while it was opened, and in pages that were read since.
 *
 * A damaged page can be rebuilt only while the store is opened (`Footing.ts`), from a checkpoint that does not have it
 * and the log above. So whoever meets one leaves a mark, the file `damaged`, and the next opening looks at all pages
 * before it believes them. The mark is news, not truth: where it is lost, the page is met again.
 *
 * I1 From the first damaged page on, checkpoints do not start by themselves while the log has room, and closing takes
 *    none: each would give up a part of what the page could be rebuilt from.
 */
import * as Effect from "effect/Effect"
import type { Disk } from "../../disk/Disk.ts"
import type { Corrupted, StoreError } from "../../StoreError.ts"
import * as Telemetry from "../../Telemetry.ts"

export const markName = "damaged"

/** Bytes that are not what was written, and what became of what they held. */
export interface Damage {
  readonly path: string
  /** Byte in the file. */
  readonly offset: number
  readonly expected: string
  readonly actual: string
  /**
   * `rebuilt`: nothing is missing, all of it came from another checkpoint and the log, and the next checkpoints write
   * over it. `left`: keys in it cannot be read.
   */
  readonly outcome: "rebuilt" | "left"
}

export const damageOf = (
  { actual, expected, offset, path }: Corrupted,
  outcome: Damage["outcome"]
): Damage => ({ path, offset, expected, actual, outcome })

/** Tells whoever reads the log of the program. */
const warn = (damage: Damage): Effect.Effect<void> => {
  const { actual, expected, offset, outcome, path } = damage
  const advice = outcome === "rebuilt"
    ? "nothing is missing, it was rebuilt from the log"
    : "close the store and open it again to have it rebuilt from the log, as far as that reaches back; "
      + "look at all of it with \"npx heartwood verify\""
  return Effect.logWarning(
    `${path} is damaged at byte ${offset} (expected ${expected}, found ${actual}): ${advice}`
  )
}

export interface Options {
  readonly disk: Disk["Service"]
  readonly directory: string
  readonly mode: "readWrite" | "readOnly"
  /** Whether the life before left a mark. */
  readonly marked: boolean
  /** What opening found. */
  readonly opening: ReadonlyArray<Damage>
}

export class Damages {
  /** Pages that were found damaged since the store was opened: the first of them. */
  met: Damage | undefined
  readonly opening: ReadonlyArray<Damage>
  private readonly options: Options
  private marked: boolean

  constructor(options: Options) {
    this.options = options
    this.opening = options.opening
    this.marked = options.marked
  }

  /** Whether the newest checkpoint on the disk is not what the store was opened from, or one of the two is damaged. */
  get isRebuilt(): boolean {
    return this.opening.some(({ outcome }) => outcome === "rebuilt")
  }

  get all(): ReadonlyArray<Damage> {
    return this.met === undefined ? this.opening : [...this.opening, this.met]
  }

  /** Tells what opening found; the mark has served where there is nothing to be rebuilt, or nothing that could be. */
  readonly report: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(this.opening, warn, { discard: true }).pipe(
      Effect.andThen(Effect.annotateCurrentSpan(Telemetry.Attribute.recoveryDamage, this.opening.length)),
      Effect.andThen(this.isRebuilt ? Effect.void : this.unmark)
    )
  )

  /** Notes a page that was read, and leaves the mark; an effect where there is something to do. */
  meet({ reason }: StoreError): Effect.Effect<void> | undefined {
    // Who reads beside the owner finds pages that the owner has written over since.
    if (this.options.mode === "readOnly") return undefined
    if (this.met !== undefined || reason._tag !== "Corrupted") return undefined
    this.met = damageOf(reason, "left")
    return Effect.andThen(warn(this.met), Effect.ignore(this.mark))
  }

  private readonly mark: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const { directory, disk } = this.options
    if (this.marked) return Effect.void
    this.marked = true
    return disk.open(`${directory}/${markName}`, { mode: "create" }).pipe(
      Effect.flatMap((file) => Effect.ensuring(file.sync, file.close)),
      Effect.andThen(disk.syncDirectory(directory))
    )
  })

  /** What was damaged is in no checkpoint that matters any more, or cannot be helped. */
  readonly unmark: Effect.Effect<void> = Effect.suspend(() => {
    const { directory, disk, mode } = this.options
    if (mode === "readOnly" || !this.marked || this.met !== undefined) return Effect.void
    this.marked = false
    return Effect.ignore(disk.unlink(`${directory}/${markName}`))
  })
}
