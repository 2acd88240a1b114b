/**
 * Every state in which a disk may be found, at every operation that changes it, each kept once.
 *
 * Before an operation the power may go with any of the numbered variants of what was not synced (`disk/Fates.ts`), with
 * some that a seed draws, and the process may die. Equal images are one: it has to satisfy the bounds of all moments at
 * which it may be found.
 *
 * I1 An operation that only looks leaves nothing else to be found than the one before it.
 */
import type { Crash, FaultDisk, Image, Observed } from "../../src/disk/FaultDisk.ts"
import type { Bounds } from "./crashHistory.ts"
import { random } from "./random.ts"
import type { Random } from "./random.ts"

/** Operations that only look leave nothing else to be found than those before them. */
const changing: ReadonlySet<Observed["operation"]> = new Set(
  ["makeDirectory", "rename", "unlink", "syncDirectory", "write", "sync", "allocate", "truncate"] as const
)

export type End = Crash | { readonly kill: true }

/** One of the moments at which an image may be found. */
export interface Moment {
  readonly operation: Observed
  readonly end: End
}

/** A distinct image: where it was met first, and all that it has to satisfy. */
export interface Shot {
  readonly image: Image
  readonly first: Moment
  readonly bounds: Array<Bounds>
}

export interface Figures {
  operations: number
  /** Operations at which states were taken. */
  moments: number
  /** States, of which equal ones were opened once. */
  states: number
  kills: number
}

export const describe = ({ end, operation: { number, operation, path } }: Moment, story: string): string =>
  `before operation ${number} (${operation} ${path}), ${JSON.stringify(end)}: ${story}`

/** Seeds that are drawn at each operation, beside all that is numbered. */
const drawn = 3

export interface Options {
  readonly seed: number
  /** Takes states at each operation with this probability; default 1. */
  readonly rate?: number
  /** What may be found now; undefined where nothing is to be taken. */
  readonly bounds: () => { readonly power: Bounds; readonly kill: Bounds } | undefined
}

export class Shots {
  readonly taken = new Map<string, Shot>()
  readonly figures: Figures = { operations: 0, moments: 0, states: 0, kills: 0 }
  private readonly chance: Random
  private readonly options: Options

  constructor(options: Options) {
    this.options = options
    this.chance = random(options.seed)
  }

  /** Observes a disk. */
  readonly observer = (faults: FaultDisk["Service"]) => (operation: Observed): void => {
    if (!changing.has(operation.operation)) return
    this.figures.operations++
    const { rate = 1 } = this.options
    if (rate < 1 && !this.chance.bool(rate)) return
    const bounds = this.options.bounds()
    if (bounds === undefined) return
    this.figures.moments++
    const { kill, power } = bounds
    const variants = faults.variants()
    for (let variant = 0; variant < variants; variant++) {
      this.take(faults.crashImage({ variant }), { operation, end: { variant } }, power)
    }
    for (let count = 0; count < drawn; count++) {
      const end = { seed: this.chance.int(2 ** 31) }
      this.take(faults.crashImage(end), { operation, end }, power)
    }
    this.figures.kills++
    this.take(faults.killImage(), { operation, end: { kill: true } }, kill)
  }

  private take(image: Image, first: Moment, bounds: Bounds): void {
    this.figures.states++
    const digest = image.digest()
    const known = this.taken.get(digest)
    if (known === undefined) this.taken.set(digest, { image, first, bounds: [bounds] })
    else if (known.bounds.at(-1) !== bounds) known.bounds.push(bounds)
  }
}
