/**
 * Points one after another: a process is struck, and what it leaves is looked at.
 *
 * S1 The process ends with typed errors or by the signal, never by a defect, and never hangs.
 * S2 What was acknowledged is there, nothing is there that nobody sent, and the state is that after the first n
 *    commits. Of a sync that dropped its pages nothing below `synced` is expected.
 * S3 Verifying finds nothing, before the store is opened again or after. A torn superblock is found before.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import fs from "node:fs"
import path from "node:path"
import { createInterface } from "node:readline"
import { Store, Verify } from "../../src/index.ts"
import { Model, options, read } from "../kill/Plan.ts"
import { Board, environment } from "./Board.ts"
import type { Seen, Strike } from "./Board.ts"
import { all, kills } from "./Points.ts"
import type { Point } from "./Points.ts"
import type { Job } from "./worker.ts"

/** Commits that a life of a store may leave there though nobody has said so: one for each writer. */
const inFlight = 3
/** Points that one process goes through. */
const perProcess = 40
const patienceMillis = 60_000

/** What a process said of one point. */
export interface Said {
  /** The last commit that must be there, and the last that was acknowledged at all. */
  kept: number
  synced: number
  highest: number
  /** Commits after that one that may be there: what its life had in flight, and each since then. */
  unsaid: number
  readonly errors: Array<string>
  /** Acknowledged after an error, in the same life of the store. */
  late: number
  failing: boolean
  ended: boolean
  /** Of a process that ended by itself: calls that were struck, and syncs of a file after a failed one. */
  struck: number
  again: number
}

const nothing = (): Said => ({
  kept: 0,
  synced: 0,
  highest: 0,
  unsaid: 0,
  errors: [],
  late: 0,
  failing: false,
  ended: false,
  struck: 0,
  again: 0
})

export interface SweepOptions {
  /** A directory of the sweep's alone; stores stand below it. */
  readonly directory: string
  readonly worker: string
  readonly library: string
}

export class Sweep {
  readonly figures = {
    points: 0,
    killed: 0,
    failed: 0,
    unharmed: 0,
    missed: 0,
    processes: 0,
    acknowledged: 0
  }
  private readonly options: SweepOptions
  private readonly board: Board
  private readonly stores: string
  private template: { readonly directory: string; readonly said: Said } | undefined

  constructor(options: SweepOptions) {
    this.options = options
    this.board = new Board(path.join(options.directory, "board"))
    this.stores = path.join(options.directory, "stores")
    fs.mkdirSync(this.stores)
  }

  /** Makes a store that was killed, and counts the calls of both workloads. */
  async points(): Promise<ReadonlyArray<Point>> {
    const directory = path.join(this.stores, "template")
    const strike: Strike = { calls: ["fdatasync", "dsync"], at: 25, times: 1, action: "killBefore" }
    const [said = nothing()] = await this.process([{ index: 0, directory, template: undefined, strike }])
    if (said.ended || said.highest < 10) throw new Error(`no template: ${JSON.stringify(said)}`)
    // What was in flight when it was killed may be there; looked at in a copy, for opening it ends what is tried here.
    const copy = path.join(this.stores, "looked-at")
    fs.cpSync(directory, copy, { recursive: true })
    const { number } = await open(copy)
    fs.rmSync(copy, { recursive: true })
    this.template = { directory, said: { ...said, highest: number } }
    const unharmed = await this.count(undefined)
    return all({ new: unharmed, killed: await this.count(directory) })
  }

  private async count(template: string | undefined): Promise<Seen> {
    const directory = path.join(this.stores, "counted")
    const [said] = await this.process([{ index: 0, directory, template, strike: undefined }])
    if (said?.ended !== true || said.errors.length > 0) throw new Error(`not well: ${JSON.stringify(said)}`)
    fs.rmSync(directory, { recursive: true })
    return this.board.seen()
  }

  /** Goes through points, and answers what was said of them; whatever is not as promised is thrown, with the point. */
  async run(points: ReadonlyArray<Point>): Promise<ReadonlyArray<Said>> {
    const all: Array<Said> = []
    const jobs = points.map((strike, index): Job => ({
      index,
      directory: path.join(this.stores, `${index}`),
      template: strike.begins === "new" ? undefined : this.template?.directory,
      strike
    }))
    for (let from = 0; from < jobs.length;) {
      const batch = jobs.slice(from, from + perProcess)
      // A process ends with the first point that kills it.
      const last = batch.findIndex(({ strike }) => strike !== undefined && kills(strike))
      const going = batch.slice(0, last < 0 ? batch.length : last + 1)
      const answers = await this.process(going)
      for (const [index, said] of answers.entries()) {
        const point = points[from + index]
        const job = jobs[from + index]
        if (point !== undefined && job !== undefined) await this.judge(point, job, said)
      }
      if (answers.length === 0) throw new Error(`the process said nothing: ${JSON.stringify(going[0])}`)
      all.push(...answers)
      from += answers.length
    }
    return all
  }

  private async judge(point: Point, job: Job, said: Said): Promise<void> {
    const { figures } = this
    const from = point.begins === "new" ? nothing() : this.template?.said ?? nothing()
    figures.points++
    // What the system only kept in its memory is gone with what a sync dropped.
    const own = point.action === "drop" ? said.synced : said.kept
    const kept = Math.max(from.kept, own)
    const last = Math.max(from.highest, said.highest) + said.unsaid
    if (!said.ended) figures.killed++
    else if (said.struck === 0) figures.missed++
    else if (said.errors.length > 0) figures.failed++
    else figures.unharmed++
    try {
      // Either before or after: looking twice at each costs a third of it all.
      const isBefore = job.index % 2 === 0
      if (isBefore) await expectSound(job.directory, kept, point.action === "torn")
      expectPrefix(await open(job.directory), kept, last)
      if (!isBefore) await expectSound(job.directory, kept, false)
    } catch (cause) {
      const what = `${JSON.stringify(point)} (${said.errors.join(", ")}), in ${job.directory}`
      throw new Error(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    }
    fs.rmSync(job.directory, { recursive: true, force: true })
  }

  /** Runs a process through jobs; answers what it said of those that it came to. */
  private async process(jobs: ReadonlyArray<Job>): Promise<ReadonlyArray<Said>> {
    const { library, worker } = this.options
    this.figures.processes++
    const child = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", worker, this.board.path, JSON.stringify(jobs)],
      {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, ...environment({ library, board: this.board, under: this.stores }) }
      }
    )
    const ended = once(child, "close")
    let errors = ""
    child.stderr.on("data", (data) => errors += data)
    let patience: NodeJS.Timeout | undefined
    const said: Array<Said> = []
    createInterface(child.stdout).on("line", (line) => {
      clearTimeout(patience)
      patience = setTimeout(() => child.kill("SIGABRT"), patienceMillis)
      this.heard(line, said)
    })
    const [status, signal] = await ended
    clearTimeout(patience)
    const last = said.at(-1)
    const isKilled = signal === "SIGKILL" && last?.ended === false
    if (!isKilled && (status !== 0 || last?.ended !== true)) {
      const { strike } = jobs[Math.max(0, said.length - 1)] ?? {}
      throw new Error(`the process ended with ${status ?? signal} at ${JSON.stringify(strike)}: ${errors}`)
    }
    return said
  }

  private heard(line: string, said: Array<Said>): void {
    const [first = "", second = "", third = ""] = line.split(" ")
    if (first === "point") said.push(nothing())
    const current = said.at(-1)
    if (current === undefined) return
    if (first === "end") {
      current.ended = true
      current.struck = Number(second)
      current.again = Number(third)
    } else if (first === "life") {
      current.failing = false
      current.unsaid += inFlight
    } else if (first === "failed") {
      current.failing = true
      current.errors.push(line.slice(7))
    } else if (first !== "point") {
      acknowledge(current, Number(first), second)
      this.figures.acknowledged++
    }
  }
}

const acknowledge = (said: Said, number: number, durability: string): void => {
  if (said.failing) said.late++
  said.highest = Math.max(said.highest, number)
  said.unsaid = inFlight
  if (durability !== "memory") said.kept = Math.max(said.kept, number)
  if (durability === "synced") said.synced = Math.max(said.synced, number)
}

const open = (directory: string) =>
  Effect.runPromise(
    Effect.provide(read, Store.layer(options(directory))).pipe(Effect.timeout(`${patienceMillis} millis`))
  )

/** A store that was never acknowledged may not be there at all. */
const expectSound = async (directory: string, kept: number, torn: boolean): Promise<void> => {
  if (kept === 0 && !fs.existsSync(path.join(directory, "super"))) return
  const { findings } = await Effect.runPromise(Verify.verify({ path: directory }))
  const wrong = torn ? findings.filter(({ subject }) => subject !== "superblock") : findings
  if (wrong.length > 0) throw new Error(`verify finds ${JSON.stringify(wrong)}`)
}

const expectPrefix = (found: Awaited<ReturnType<typeof open>>, kept: number, last: number): void => {
  const { number } = found
  if (number < kept) throw new Error(`commit ${kept} was acknowledged, and ${number} is the last one`)
  if (number > last) throw new Error(`${number} commits, but ${last} at most were sent`)
  const model = new Model()
  model.advance(number)
  const difference = model.difference(found)
  if (difference !== undefined) throw new Error(`after ${number} commits, ${difference}`)
}
