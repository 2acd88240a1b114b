/**
 * Opening what a crash has left, with as little around it as there can be, and looking whether it may be so.
 *
 * A state is opened in one call (`crashLoop.ts`), compared with the commits that may be found, audited, left as a power
 * cut would leave it, and opened and compared again. Equal disks are opened once, also those that a first opening leaves.
 *
 * I1 Of one chain of lives no two draw the same numbers: incarnations of the log never repeat.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { Disk } from "../../src/disk/Disk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type { Image } from "../../src/disk/FaultDisk.ts"
import * as Machine from "../../src/Machine.ts"
import * as Raw from "../../src/Raw.ts"
import { StoreError } from "../../src/StoreError.ts"
import { verifyDisk } from "../../src/Verify.ts"
import { Chapter, keyspaces, wrongIn } from "./crashHistory.ts"
import { CrashLoop } from "./crashLoop.ts"
import { Reading, ReadTree } from "./crashReads.ts"
import type { Shot } from "./crashShots.ts"
import { describe, Shots } from "./crashShots.ts"
import { random } from "./random.ts"
import type { Random } from "./random.ts"
import { auditStore } from "./storeAudit.ts"
import { directory, keyspaceOf } from "./storeDoor.ts"
import type { Row, State } from "./storeModel.ts"
import type { Options } from "./storeSize.ts"

const everything: Raw.Range = {
  lower: new Uint8Array(0),
  upper: undefined,
  order: "ascending",
  limit: Infinity,
  columns: "keys and values"
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

const rowsOf = (machine: Machine.Machine, keyspace: string): ReadonlyArray<Row> => {
  const rows: Array<Row> = []
  const raw = Raw.make(machine, keyspaceOf(keyspace))
  for (const batch = new Raw.Batch(); raw.scanUnsafe(everything, batch);) {
    for (let index = 0; index < batch.count; index++) {
      const key = batch.key(index)
      const value = batch.reference(index) === undefined ? batch.value(index) : raw.getUnsafe(key)
      if (value === undefined) throw new Error("a large value is gone")
      rows.push({ key: text(key), value: text(value), lsn: batch.version(index) })
    }
  }
  return rows
}

/** What a store holds. The raw doors refuse where loads wait for memory: those go on before it is tried again. */
export const stateOf = ({ loop, machine }: Pick<Opened, "loop" | "machine">): State => {
  for (let attempts = 1;; attempts++) {
    try {
      return new Map(keyspaces.map((keyspace) => [keyspace, rowsOf(machine, keyspace)]))
    } catch (cause) {
      const refused = cause instanceof StoreError && cause.reason._tag === "Overloaded"
      if (!refused || attempts === attemptsMost) throw cause
      loop.idle()
    }
  }
}

const attemptsMost = 8

/** Beyond the seeds of workloads, which number the lives before (I1). */
const firstSeed = 2 ** 30

export interface Opened {
  readonly loop: CrashLoop
  readonly machine: Machine.Machine
  readonly faults: FaultDisk["Service"]
}

/** What is done with the disk before the store is opened, and who watches it. */
interface Around {
  readonly before?: (faults: FaultDisk["Service"]) => Effect.Effect<void, never, Scope.Scope>
  readonly reading?: Reading
}

/** Opens an image in one call. `life` counts the lives before it (I1). */
export const openImage = (image: Image, options: Options, life: number, around: Around = {}): Opened => {
  const loop = new CrashLoop()
  const settings: Machine.Settings = {
    directory,
    mode: "readWrite",
    durability: "synced",
    buffer: options.buffer ?? "miniPages",
    limits: options.limits ?? {},
    systemCache: "use",
    syncThread: "pool",
    recovery: () => Effect.void,
    checkpointed: () => {},
    relocated: () => {},
    expired: () => {},
    shortage: () => {}
  }
  const program = Effect.gen(function*() {
    const faults = yield* FaultDisk
    const scope = yield* Scope.make()
    const { before, reading } = around
    if (before !== undefined) yield* Scope.provide(before(faults), scope)
    const disk = yield* Disk
    const watched = reading === undefined ? disk : reading.disk(disk)
    // The scope stays open: a store that is not closed is one that a crash ended.
    const machine = yield* Machine.open(settings).pipe(
      Scope.provide(scope),
      Effect.provideService(Disk, watched)
    )
    return { machine, faults }
  })
  const untraced = program.pipe(
    Effect.provideService(References.TracerEnabled, false),
    Effect.provideService(References.MinimumLogLevel, "None")
  )
  // Every span remembers where it began, which takes longer than what is in it.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  const exit = loop.run(Effect.provide(untraced, layer({ image })), firstSeed + life)
  Error.stackTraceLimit = stackTraceLimit
  if (exit === undefined) throw new Error("opening waits for nobody")
  if (Exit.isFailure(exit)) throw new Error(`opening failed: ${exit.cause}`)
  return { loop, ...exit.value }
}

/** No crash may damage anything but the superblock that is being written: what was rebuilt elsewhere is a fault, too. */
const undamaged = ({ machine }: Opened): void => {
  const damages = machine.parts.damages.all.filter(({ path }) => path !== `${directory}/super`)
  if (damages.length > 0) throw new Error(`the store is damaged: ${JSON.stringify(damages[0])}`)
}

const audit = ({ faults, machine }: Opened, reading: Reading): void => {
  const path = `${directory}/pages`
  const pageFile = faults.killImage().read(path) ?? new Uint8Array(0)
  const { problems } = auditStore(machine, {
    subarray: (from = 0, until = pageFile.length) => {
      reading.look(path, from, until)
      return pageFile.subarray(from, until)
    }
  })
  if (problems.length > 0) throw new Error(`the store is not sound: ${problems.slice(0, 3).join("; ")}`)
}

/** What `Verify` says of a disk, beside a superblock that was torn. */
const verify = (image: Image): void => {
  const looked = Effect.provide(verifyDisk({ path: directory }), layer({ image }))
  const exit = new CrashLoop().run(looked, 1)
  if (exit === undefined || Exit.isFailure(exit)) throw new Error(`verifying failed: ${exit?.cause}`)
  const findings = exit.value.findings.filter(({ subject }) => subject !== "superblock")
  if (findings.length > 0) throw new Error(`verify finds ${JSON.stringify(findings.slice(0, 3))}`)
}

const printed = (state: State): string => JSON.stringify([...state])

export interface Figures {
  /** Different images, and how many of them were opened, twice each; the others read like one that was. */
  distinct: number
  opened: number
  /** How many of those others were opened all the same, to see whether they do. */
  confirmed: number
  /** In how many of them the last commits were missing, by right. */
  lost: number
  /** In how many of them something was missing that the system had been handed. */
  unbuffered: number
  verified: number
  /** States inside of recovery, and inside of the recovery of those. */
  nested: number
  deeper: number
}

/** Of the operations of a recovery, so many are crashed before. */
const nestedRate = 0.5

/** How much is looked at of what would take too long to be looked at every time: one in so many. */
export interface Rates {
  readonly verify: number
  /** Images that read like one that was opened. */
  readonly confirm: number
  /** States whose recovery is enumerated, too. */
  readonly nest: number
  /** Of those states, the ones whose recovery is. */
  readonly deepen: number
}

export class CrashCheck {
  readonly figures: Figures = {
    distinct: 0,
    opened: 0,
    confirmed: 0,
    lost: 0,
    unbuffered: 0,
    verified: 0,
    nested: 0,
    deeper: 0
  }
  private readonly options: Options
  private readonly rates: Rates
  private readonly chance: Random
  /** Openings by depth: each draws other numbers. */
  private readonly trees: Array<ReadTree<State> | undefined> = []

  constructor(options: Options, rates: Rates, seed: number) {
    this.options = options
    this.rates = rates
    this.chance = random(seed)
  }

  /** Checks all states. Throws at the first that may not be. */
  all(shots: Iterable<Shot>, depth = 1): void {
    for (const shot of shots) {
      try {
        this.one(shot, depth)
      } catch (cause) {
        const where = describe(shot.first, shot.image.story)
        throw new Error(`${where}: ${cause instanceof Error ? cause.message : cause}`, { cause })
      }
    }
  }

  private one({ bounds, image }: Shot, depth: number): void {
    const { chance, figures, rates } = this
    figures.distinct++
    const found = this.recover(image, depth)
    for (const each of bounds) {
      const wrong = wrongIn(each, found)
      if (wrong !== undefined) throw new Error(`found ${wrong}`)
    }
    const index = bounds[0]?.chapter.indexOf(found) ?? 0
    if (bounds.some(({ until }) => index < until)) figures.lost++
    if (bounds.some(({ handed }) => index < handed)) figures.unbuffered++
    if (depth < 3 && chance.int(depth === 1 ? rates.nest : rates.deepen) === 0) this.nest(image, found, depth)
  }

  /** What it holds, by opening it, or one that reads alike. */
  private recover(image: Image, depth: number): State {
    const { chance, figures, rates } = this
    let tree = this.trees[depth]
    if (tree === undefined) this.trees[depth] = tree = new ReadTree()
    const known = tree.find(image)
    if (known !== undefined && chance.int(rates.confirm) > 0) return known
    if (known === undefined) figures.opened++
    else figures.confirmed++
    const reading = new Reading(image)
    const found = this.openTwice(image, depth, reading)
    if (known !== undefined && printed(known) !== printed(found)) {
      throw new Error("what reads alike is not alike")
    }
    tree.add(reading, found)
    return found
  }

  /** Opens it, and again what a power cut would leave of it then. */
  private openTwice(image: Image, depth: number, reading: Reading): State {
    const { chance, figures, rates } = this
    const opened = openImage(image, this.options, depth, { reading })
    const found = stateOf(opened)
    opened.loop.idle()
    audit(opened, reading)
    undamaged(opened)
    reading.cut()
    const left = opened.faults.crashImage({ keep: "nothing" })
    const second = openImage(left, this.options, depth + 1, { reading })
    const again = stateOf(second)
    second.loop.idle()
    undamaged(second)
    if (printed(again) !== printed(found)) throw new Error(`opened again it holds something else`)
    if (chance.int(rates.verify) === 0) {
      figures.verified++
      verify(second.faults.crashImage({ keep: "nothing" }))
    }
    return found
  }

  /** A crash at every operation of recovery itself: it comes to the same, as often as it is begun anew. */
  private nest(image: Image, found: State, depth: number): void {
    const bounds = new Chapter(found).bounds(0)
    const shots = new Shots({ seed: this.chance.int(2 ** 31), rate: nestedRate, bounds: () => bounds })
    const before = (faults: FaultDisk["Service"]) => faults.observe(shots.observer(faults))
    const { loop } = openImage(image, this.options, depth, { before })
    // The marks that follow are part of it.
    for (let timer = 0; timer < 2; timer++) loop.pass()
    if (depth === 1) this.figures.nested += shots.figures.states
    else this.figures.deeper += shots.figures.states
    this.all(shots.taken.values(), depth + 1)
  }
}
