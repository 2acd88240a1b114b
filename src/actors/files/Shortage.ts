/**
 * The shortage: that there is no room for what would be added, since when, and who is told of it.
 *
 * The reserve says when it begins and ends; whoever operates a store hears of both in its events, in the log of the
 * program if a commit was refused, and as long as it lasts in `Store.stat` and the metrics.
 *
 * I1 Every end that is told is the end of a beginning that was told.
 *
 * A store that is nearly full may go in and out many times in a second. Each time is an event; the log of the program
 * is for people, so that there it is told at most once in a minute.
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../../StoreError.ts"

/** What is known of it, in bytes. */
export interface Report {
  /** Commits that add are refused, or are taken again. */
  readonly isFull: boolean
  /** When it began, in milliseconds since 1970. */
  readonly sinceMillis: number
  /** Commits that were refused since then. */
  readonly refused: number
  /** Free on the disk when it was looked last; `Infinity` where nobody can say. */
  readonly free: number
  /** What is lacking before commits are taken again; 0 where it is being looked. */
  readonly missing: number
  /** What the reserve holds. */
  readonly reserve: number
  /** The file that may not grow, where a limit on files is what is lacking, not space. */
  readonly file: string | undefined
}

export interface Hooks {
  readonly now: () => number
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Told of each beginning and end. */
  readonly told: (report: Report) => void
}

export type Sizes = Pick<Report, "free" | "missing" | "reserve">

/** Between two warnings in the log of the program. */
const quietMillis = 60_000

export class Shortage {
  readonly counters = { shortages: 0, refusals: 0 }
  isOn = false
  /** A file that could not grow on a disk with room. */
  file: string | undefined
  private sinceMillis = 0
  private before = 0
  private isWarned = false
  private warnedMillis = -Infinity
  private hooks: Hooks | undefined
  private readonly sizes: () => Sizes

  constructor(sizes: () => Sizes) {
    this.sizes = sizes
  }

  /** From here on somebody can be told; of one that recovery has met, too. */
  serve(hooks: Hooks): void {
    this.hooks = hooks
    if (this.isOn) this.tellBegin(hooks)
  }

  begin(): void {
    if (this.isOn) return
    this.isOn = true
    if (this.hooks !== undefined) this.tellBegin(this.hooks)
  }

  end(): void {
    if (!this.isOn) return
    const report = this.report(false)
    this.isOn = false
    this.file = undefined
    if (this.hooks === undefined) return
    this.hooks.told(report)
    if (!this.isWarned) return
    this.isWarned = false
    const seconds = Math.round((this.hooks.now() - report.sinceMillis) / 1000)
    this.hooks.fork(Effect.logWarning(
      `Commits are taken again after ${seconds} s in which ${report.refused} were refused for want of space`
    ))
  }

  /** Commits are refused: a shortage that nobody has met is no news for people. */
  refused(commits: number): void {
    if (commits === 0) return
    this.counters.refusals += commits
    const { hooks, isWarned } = this
    if (hooks === undefined || isWarned || hooks.now() - this.warnedMillis < quietMillis) return
    this.isWarned = true
    this.warnedMillis = hooks.now()
    hooks.fork(Effect.logWarning(
      `Commits are refused: ${reasonOf(this.report(true))}; writing goes on by itself when there is room`
    ))
  }

  /** What is lacking now; undefined while nothing is. */
  get now(): Report | undefined {
    return this.isOn ? this.report(true) : undefined
  }

  private tellBegin(hooks: Hooks): void {
    this.sinceMillis = hooks.now()
    this.before = this.counters.refusals
    this.counters.shortages++
    hooks.told(this.report(true))
  }

  private report(isFull: boolean): Report {
    const { file, sinceMillis } = this
    return { isFull, sinceMillis, refused: this.counters.refusals - this.before, ...this.sizes(), file }
  }
}

const reasonOf = ({ file, free, missing }: Report): string => {
  if (file !== undefined) return `${file} may not grow (a limit of the process or the file system)`
  return missing > 0
    ? `the disk is nearly full (${free} bytes are free, ${missing} more are needed)`
    : "the disk has no space for a file that must grow"
}

/** The disk is full, or the quota. */
export const isNoSpace = ({ reason }: StoreError): boolean =>
  reason._tag === "DiskFailed" && (reason.code === "ENOSPC" || reason.code === "EDQUOT")

/** The file that may not grow, though the disk may have room: to free some would not help. */
export const cappedFile = ({ reason }: StoreError): string | undefined =>
  reason._tag === "DiskFailed" && reason.code === "EFBIG" ? reason.path : undefined
