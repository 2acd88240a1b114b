/**
 * Stores of which the state after each commit is known, what may happen to their files, and whether what is salvaged of
 * them is right.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import type { Image } from "../../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type * as Salvage from "../../src/Salvage.ts"
import * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Random as Chance } from "./random.ts"
import { random } from "./random.ts"
import { directory, dump, open, perform } from "./storeDoor.ts"
import type { Row, State } from "./storeModel.ts"
import { Draw, play, rowsOf } from "./storeModel.ts"
import type { Options, Shape } from "./storeSize.ts"
import { names, optionsOf } from "./storeSize.ts"

export interface World {
  readonly image: Image
  /** Images of the same store when it was younger. */
  readonly earlier: ReadonlyArray<Image>
  readonly history: ReadonlyArray<{ readonly lsn: number; readonly state: State }>
  readonly options: Options
}

/** A store that had some commits and checkpoints, and was closed or killed. */
export const world = (seed: number, shape: Shape, commits: number): Effect.Effect<World, StoreError> =>
  Effect.gen(function*() {
    const chance = random(seed)
    const options = optionsOf(chance, shape)
    const faults = yield* FaultDisk
    const draw = new Draw(chance, { keyspaces: names, keyBytes: 216, valueBytes: 700 })
    const { close, store } = yield* open(options)
    const history: Array<{ lsn: number; state: State }> = [{ lsn: 0, state: new Map() }]
    const earlier: Array<Image> = []
    for (let commit = 0; commit < commits; commit++) {
      const steps = chance.bool(0.3) ? draw.load(1 + chance.int(60)) : draw.steps(6)
      const body = Effect.suspend(() => perform(steps, []))
      const { lsn } = yield* Effect.provideService(
        Tx.commit({ durability: "synced" })(body),
        Store.Store,
        store
      )
      const { state } = play((history.at(-1) as { state: State }).state, steps)
      history.push({ lsn, state })
      if (chance.bool(0.08)) yield* store.checkpoint
      if (chance.bool(0.05)) earlier.push(faults.killImage())
    }
    if (chance.bool(0.5)) yield* close
    const image = faults.killImage()
    yield* close
    return { image, earlier, history, options }
    // A clock that stands still, so that marks come or do not come as the seed has it.
  }).pipe(Effect.provide([layer({ seed }), TestClock.layer()]), Random.withSeed(seed))

/** The last state of which all commits lie below an LSN. */
export const stateAt = ({ history }: World, lsn: number): State =>
  (history.findLast((each) => each.lsn < lsn) as { state: State }).state

const filesOf = (image: Image): ReadonlyArray<string> => image.paths().filter((path) => !/\/lock/.test(path))

/** Something that may happen to a file. */
export const damage = (
  chance: Chance,
  { earlier, image }: World,
  before: Image
): readonly [string, Image] => {
  const files = filesOf(image)
  const one = files.filter((path) => chance.bool(0.5) && !/\/log[-.]/.test(path))
  const path = chance.pick(one.length > 0 ? one : files)
  const bytes = Uint8Array.from(before.read(path) ?? [])
  if (bytes.length === 0) return [`${path} is gone`, before]
  const unit = path.endsWith("/pages") ? 1024 : 512
  const place = (): number => chance.int(Math.ceil(bytes.length / unit)) * unit
  const kind = chance.pick(["bit", "zeros", "garbage", "swap", "older", "cut", "missing"] as const)
  const at = kind === "bit" ? chance.int(bytes.length) : place()
  switch (kind) {
    case "bit":
      bytes[at] = (bytes[at] as number) ^ 1 << chance.int(8)
      break
    case "zeros":
      bytes.fill(0, at, at + unit)
      break
    case "garbage":
      bytes.set(chance.bytes(Math.min(unit, bytes.length - at)), at)
      break
    case "swap": {
      const other = place()
      const [a, b] = [bytes.slice(at, at + unit), bytes.slice(other, other + unit)]
      if (a.length === unit && b.length === unit) {
        bytes.set(b, at)
        bytes.set(a, other)
      }
      break
    }
    case "older": {
      const old = (earlier.length === 0 ? image : chance.pick(earlier)).read(path)?.subarray(at, at + unit)
      if (old !== undefined) bytes.set(old.subarray(0, bytes.length - at), at)
      break
    }
    case "cut":
      return [`${path} cut to ${at}`, before.replace(path, bytes.slice(0, at))]
    case "missing":
      return [`${path} is missing`, before.replace(path, chance.bool(0.3) ? undefined : bytes)]
  }
  return [`${kind} at ${at} of ${path}`, before.replace(path, bytes)]
}

const bytesOf = (key: string): Buffer => Buffer.from(key, "latin1")

/** Whether a report says that a key is missing. */
const isListed = (report: Salvage.Report, keyspace: string, key: string): boolean => {
  const { lost = [] } = report.keyspaces.find(({ name }) => name === keyspace) ?? {}
  const bytes = bytesOf(key)
  return lost.some(({ high, low }) =>
    Buffer.compare(low, bytes) <= 0 && (high === undefined || Buffer.compare(bytes, high) < 0)
  )
}

/** What is wrong with what was salvaged: `found` is the new store, `expected` the state that it claims to be. */
export const wrong = (report: Salvage.Report, found: State, expected: State): ReadonlyArray<string> => {
  const problems: Array<string> = []
  for (const keyspace of names) {
    const right = new Map(rowsOf(expected, keyspace).map((row: Row) => [row.key, row.value]))
    for (const { key, value } of rowsOf(found, keyspace)) {
      if (right.get(key) !== value) problems.push(`${keyspace}: a wrong value of ${JSON.stringify(key)}`)
      right.delete(key)
    }
    for (const key of right.keys()) {
      if (!isListed(report, keyspace, key)) problems.push(`${keyspace}: ${JSON.stringify(key)} is not listed`)
    }
  }
  return problems
}

export const target = "/salvaged"

/** What the new store holds. */
export const salvaged = ({ options }: World) =>
  Effect.scoped(Effect.flatMap(Store.make({ ...options, path: target }), (store) => dump(store, names)))

export const from = directory
