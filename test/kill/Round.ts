/**
 * A round: start the worker, kill it with SIGKILL at a random moment, and look at what is left. The moments: while it
 * opens, some time after that, some time after the n-th acknowledgement.
 *
 * R1 Every acknowledged `synced` and `buffered` commit is there (the page cache outlives the process).
 * R2 The state is exactly that after the first n commits of the plan.
 * R3 n is no more than was on its way.
 * R4 Opening a second time gives the same.
 * R5 Verifying finds nothing.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import fs from "node:fs"
import path from "node:path"
import { Store, Verify } from "../../src/index.ts"
import type { Random } from "../support/random.ts"
import type { Found } from "./Plan.ts"
import { Model, options, read } from "./Plan.ts"

/** Transactions that may have been committed and not been acknowledged: one for each writer, and what was read. */
const inFlight = 6

/** An opening that takes longer has hung. */
const patienceMillis = 60_000

/** What the rounds so far have seen. */
export interface Totals {
  rounds: number
  killedWhileOpening: number
  acknowledged: number
  commits: number
  /** Commits that were found though nobody had said so yet. */
  recovered: number
}

export interface RoundsOptions {
  /** Of the store. */
  readonly directory: string
  /** The script that is killed: `worker.ts`, or a bundle of it. */
  readonly worker: string
  readonly chance: Random
  /** At most how long after the moment it is killed. */
  readonly lifeMillis: number
}

/** A store's directory and what must be in it. */
export class Rounds {
  readonly totals: Totals = { rounds: 0, killedWhileOpening: 0, acknowledged: 0, commits: 0, recovered: 0 }
  private readonly directory: string
  private readonly worker: string
  private readonly chance: Random
  private readonly lifeMillis: number
  private readonly model = new Model()
  /** The highest number that was acknowledged as at least `buffered`, and at all. */
  private kept = 0
  private highest = 0

  constructor({ chance, directory, lifeMillis, worker }: RoundsOptions) {
    this.directory = directory
    this.worker = worker
    this.chance = chance
    this.lifeMillis = lifeMillis
  }

  async run(): Promise<void> {
    await this.kill()
    this.totals.rounds++
    // Most of the time a copy is looked at: closing takes a checkpoint, and the next worker is to find none.
    const onCopy = this.chance.bool(0.75)
    const looked = onCopy ? `${this.directory}.copy` : this.directory
    if (onCopy) {
      fs.rmSync(looked, { recursive: true, force: true })
      // The first worker may not have come as far as making it.
      if (fs.existsSync(this.directory)) fs.cpSync(this.directory, looked, { recursive: true })
    }
    await this.expectSound(looked)
    this.check(await open(looked))
    if (this.chance.bool(0.25)) this.check(await open(looked))
  }

  private async expectSound(directory: string): Promise<void> {
    // Before the first superblock there is nothing to verify.
    if (this.highest === 0 && !fs.existsSync(path.join(directory, "super"))) return
    const { findings } = await Effect.runPromise(Verify.verify({ path: directory }))
    if (findings.length > 0) throw new Error(`verify finds ${JSON.stringify(findings)}`)
  }

  private check(found: Found): void {
    const { number } = found
    if (number < this.kept) {
      throw new Error(`commit ${this.kept} was acknowledged, and ${number} is the last one`)
    }
    if (number > this.highest + inFlight) {
      throw new Error(`${number} commits, but ${this.highest} acknowledged`)
    }
    if (number < this.model.number) throw new Error(`${this.model.number} commits were there, now ${number}`)
    this.totals.recovered += Math.max(0, number - Math.max(this.highest, this.model.number))
    this.totals.commits = number
    this.model.advance(number)
    const difference = this.model.difference(found)
    if (difference !== undefined) throw new Error(`after ${number} commits, ${difference}`)
    // What an earlier life did not save was committed again by a later one, under the same number.
    this.highest = Math.max(this.highest, number)
    this.kept = Math.max(this.kept, number)
  }

  private async kill(): Promise<void> {
    const { chance, totals } = this
    const seed = `${chance.int(2 ** 31)}`
    const args = ["--disable-warning=ExperimentalWarning", this.worker, this.directory, seed]
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] })
    const closed = once(child, "close")
    let errors = ""
    child.stderr.on("data", (data) => errors += data)
    const moment = chance.pick(["opening", "open", "acknowledged", "acknowledged"] as const)
    const delay = chance.int(moment === "opening" ? 60 : this.lifeMillis)
    let awaited = 1 + chance.int(30)
    const arm = () => void setTimeout(() => child.kill("SIGKILL"), delay)
    let opened = false
    // Without an end of line it is no acknowledgement: the signal came in the middle of it.
    let text = ""
    child.stdout.setEncoding("utf8").on("data", (data: string) => {
      text += data
      const lines = text.split("\n")
      text = lines.pop() ?? ""
      for (const line of lines) {
        if (line === "open") opened = true
        if (line === moment) arm()
        const [number, durability] = line.split(" ")
        if (durability === undefined) continue
        this.acknowledged(Number(number), durability)
        if (moment === "acknowledged" && --awaited === 0) arm()
      }
    })
    const patience = setTimeout(() => child.kill("SIGABRT"), patienceMillis)
    const [, signal] = await closed
    clearTimeout(patience)
    if (signal !== "SIGKILL") throw new Error(`the worker ended by itself: ${errors}`)
    if (!opened) totals.killedWhileOpening++
  }

  private acknowledged(number: number, durability: string): void {
    this.totals.acknowledged++
    this.highest = Math.max(this.highest, number)
    if (durability !== "memory") this.kept = Math.max(this.kept, number)
  }
}

const open = (directory: string): Promise<Found> =>
  Effect.runPromise(
    Effect.provide(read, Store.layer(options(directory))).pipe(Effect.timeout(`${patienceMillis} millis`))
  )
