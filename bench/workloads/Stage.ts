/**
 * Where workloads play: one engine in this process, its records, and the store that is open.
 *
 * A stage is set for a family of workloads, which then run on it any number of times. Requests are drawn before
 * anything is timed, each repetition's from a seed of its own, the same for all engines.
 */
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Engine, OpenOptions, Session } from "../engines/Engine.ts"
import { random, zipf } from "../zipf.ts"
import { Records } from "./Records.ts"
import type { Order } from "./Records.ts"

export type Distribution = "uniform" | "zipf" | "latest"

export interface Setting {
  /** How many records are loaded. */
  readonly records: number
  readonly durability: OpenOptions["durability"]
  readonly memoryBytes: number
  readonly directory: string
  /** Whether the directory holds a store with these records already. */
  readonly made?: boolean | undefined
  readonly more?: Readonly<Record<string, unknown>> | undefined
}

/** Room for the records that workloads insert. */
const spare = (records: number): number => Math.max(10_000, records >>> 1)

export class Stage {
  readonly engine: Engine
  readonly setting: Setting
  /** Records that are there; the first ones are those that were loaded. */
  count: number
  /** Grows with each workload that writes. */
  version = 1
  private opened: Session | undefined
  private readonly tables = new Map<Order, Records>()
  private readonly drawers = new Map<string, (next: () => number) => number>()
  private stores = 0

  constructor(engine: Engine, setting: Setting) {
    this.engine = engine
    this.setting = setting
    this.count = setting.records
  }

  get isOpen(): boolean {
    return this.opened !== undefined
  }

  get session(): Session {
    if (this.opened === undefined) throw new Error("no store is open")
    return this.opened
  }

  /** Keys of the records in the order in which they are loaded. */
  records(order: Order = "random"): Records {
    const made = this.tables.get(order)
    if (made !== undefined) return made
    const records = new Records(this.setting.records + spare(this.setting.records), order)
    this.tables.set(order, records)
    return records
  }

  /** An empty store in a directory of its own. */
  async openFresh(more: Partial<OpenOptions> = {}): Promise<{ session: Session; directory: string }> {
    const { durability, memoryBytes, directory: parent, more: own } = this.setting
    const directory = join(parent, `store-${this.stores++}`)
    mkdirSync(directory, { recursive: true })
    const options = { directory, durability, memoryBytes, more: own, ...more }
    return { session: await this.engine.open(options), directory }
  }

  /** Opens the store that the workloads share, with its records in it. */
  async set(): Promise<void> {
    const { directory, durability, made, memoryBytes, more, records } = this.setting
    const all = this.records()
    if (made === true) {
      this.opened = await this.engine.open({ directory, durability, memoryBytes, more })
      return
    }
    const { session } = await this.openFresh()
    this.opened = session
    await session.load?.(all, 0, records, 1_000)
    await session.settle?.()
  }

  async close(): Promise<void> {
    await this.opened?.close()
    this.opened = undefined
    rmSync(this.setting.directory, { recursive: true, force: true })
  }

  /** Numbers of records, as they are asked for. */
  draw(distribution: Distribution, count: number, seed: number): Uint32Array {
    const next = random(seed * 7_919 + 1)
    const drawn = new Uint32Array(count)
    const records = this.count
    const draw = this.drawer(distribution === "uniform" ? "uniform" : "zipf")
    for (let index = 0; index < count; index++) {
      const number = Math.min(records - 1, draw(next))
      drawn[index] = distribution === "latest" ? records - 1 - number : number
    }
    return drawn
  }

  /** Sums of the generator take long, and do not change with a few more records. */
  private drawer(kind: "uniform" | "zipf"): (next: () => number) => number {
    const made = this.drawers.get(kind)
    if (made !== undefined) return made
    const draw = zipf(this.setting.records, kind === "zipf" ? 0.99 : 0)
    this.drawers.set(kind, draw)
    return draw
  }
}
