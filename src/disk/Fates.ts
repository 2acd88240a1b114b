/**
 * What a power cut does to each change that was not synced: the states in which a disk may be found.
 *
 * Any subset of the held changes may survive, each sector of a write by itself. Chosen by a seed, that space
 * is sampled; {@link variants} walks the part of it where engines break, in a fixed order, so that a test can
 * try all of it at every operation. The method is ALICE's (Pillai et al., "All File Systems Are Not Created
 * Equal", OSDI 2014, section 3): a model of what a file system may persist, and every state that the model
 * allows.
 *
 * Fates come from the held changes and a seed or an index, never from a clock or a source of chance.
 */
import type { DataChange, Held } from "./Change.ts"
import { sectorBytes } from "./Change.ts"

/**
 * Which state a power cut leaves: drawn by a seed, one of the two ends, or a numbered one (see {@link
 * variant}).
 */
export type Crash =
  | { readonly seed: number }
  | { readonly keep: "nothing" | "everything" }
  | { readonly variant: number }

/**
 * What stands in a sector that was written: what was there, the write, or, where the file grew, nothing of
 * either.
 */
export type Sector = "old" | "new" | "zeros" | "garbage"

/**
 * What is left of one change; `Torn` takes `bytes` of it at most, and of those the sectors that are not
 * `old`.
 */
export type Survival =
  | { readonly _tag: "Whole" }
  | { readonly _tag: "Lost" }
  | { readonly _tag: "Torn"; readonly bytes: number; readonly sector: (index: number) => Sector }

/** One outcome of a power cut. Indices are those of the held changes. */
export interface Fates {
  /** What survived, in words, for the report of a failing test. */
  readonly story: string
  readonly name: (index: number) => boolean
  readonly data: (index: number) => Survival
  /** Bytes of sectors whose content never arrived. */
  readonly garbage: () => number
}

/** A row of like variants, by index. */
interface Family {
  readonly count: number
  readonly at: (index: number) => Fates
}

const whole: Survival = { _tag: "Whole" }
const lost: Survival = { _tag: "Lost" }
const every = () => true
const torn = (sector: (index: number) => Sector, bytes = Infinity): Survival => ({
  _tag: "Torn",
  bytes,
  sector
})

/** Numbers in [0, 1) from a seed: mulberry32 (Tommy Ettinger, public domain). */
export const chance = (seed: number): () => number => {
  let state = seed | 0
  return () => {
    state = state + 0x6d2b79f5 | 0
    let mixed = Math.imul(state ^ state >>> 15, 1 | state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 4294967296
  }
}

const fates = (
  story: string,
  name: (index: number) => boolean,
  data: (index: number) => Survival,
  seed = 1
): Fates => {
  const next = chance(seed)
  return { story, name, data, garbage: () => next() * 256 }
}

/** Nothing that was not synced survives. */
export const nothing: Fates = fates("nothing survives", () => false, () => lost)

/** Everything survives. */
export const everything: Fates = fates("everything survives", every, () => whole)

/**
 * One state out of all, by a seed. How much survives, and how orderly, is drawn first, so that no corner is
 * rare.
 */
export const sampled = (held: Held, seed: number): Fates => {
  const next = chance(seed)
  const pick = (odds: ReadonlyArray<number>) => odds[Math.floor(next() * odds.length)]!
  const keepNames = pick([0, 0.5, 0.9, 1])
  const inOrder = next() < 0.5
  const keptNames = Math.floor(next() * (held.names.length + 1))
  const names = held.names.map((_, index) => inOrder ? index < keptNames : next() < keepNames)
  const keepData = pick([0.1, 0.5, 0.9])
  const tear = pick([0.1, 0.4, 0.8])
  const data = held.changes.map((change) => {
    if (next() < tear) return tornAtRandom(change, next)
    return next() < keepData ? whole : lost
  })
  return fates(`seed ${seed}`, (index) => names[index]!, (index) => data[index]!, seed)
}

const tornAtRandom = (change: DataChange, next: () => number): Survival => {
  const length = lengthOf(change)
  const bytes = next() < 0.5 ? Infinity : Math.floor(next() * (length + 1))
  const keep = next()
  const others: ReadonlyArray<Sector> = next() < 0.5 ? ["old"] : ["old", "zeros", "garbage"]
  const sectors = Array.from(
    { length: sectorsOf(change) },
    (): Sector => next() < keep ? "new" : others[Math.floor(next() * others.length)]!
  )
  return torn((index) => sectors[index]!, Math.min(bytes, length))
}

/** The fates that a crash asks for. */
export const fatesOf = (held: Held, crash: Crash): Fates => {
  if ("seed" in crash) return sampled(held, crash.seed)
  if ("variant" in crash) return variant(held, crash.variant)
  return crash.keep === "nothing" ? nothing : everything
}

/** How many variants {@link variant} knows for these changes. */
export const variants = (held: Held): number => {
  let count = 0
  for (const family of families(held)) count += family.count
  return count
}

/**
 * Variant number `index` of a power cut with these changes held, from 0 below {@link variants}. Variants 0
 * and 1 are nothing and everything; different indices may give the same image.
 */
export const variant = (held: Held, index: number): Fates => {
  let rest = index
  for (const family of index >= 0 ? families(held) : []) {
    if (rest < family.count) return family.at(rest)
    rest -= family.count
  }
  throw new RangeError(`there is no crash variant ${index}`)
}

const familiesOf = ({ changes, names }: Held): ReadonlyArray<Family> => [
  { count: 2, at: (index) => index === 0 ? nothing : everything },
  ...nameFamilies(names.length),
  ...orderFamilies(changes.length),
  ...tornFamilies(changes)
]

/** Those asked for last: whoever walks the variants asks for those of the same changes again and again. */
let latest: Held & { readonly families: ReadonlyArray<Family> } | undefined

const families = ({ changes, names }: Held): ReadonlyArray<Family> => {
  if (latest === undefined || !same(latest.changes, changes) || !same(latest.names, names)) {
    latest = { names: [...names], changes: [...changes], families: familiesOf({ changes, names }) }
  }
  return latest.families
}

const same = (a: ReadonlyArray<unknown>, b: ReadonlyArray<unknown>): boolean =>
  a.length === b.length && a.every((each, index) => each === b[index])

/** Names survive in order, one is missing, one is alone. */
const nameFamilies = (count: number): ReadonlyArray<Family> => [
  {
    count: count + 1,
    at: (kept) => fates(`the first ${kept} names, no data`, (index) => index < kept, () => lost)
  },
  {
    count,
    at: (kept) => fates(`the first ${kept} names, all data`, (index) => index < kept, () => whole)
  },
  { count, at: (one) => fates(`all data, all names but ${one}`, (index) => index !== one, () => whole) },
  { count, at: (one) => fates(`all data, of the names only ${one}`, (index) => index === one, () => whole) }
]

/** Changes survive in order, one is missing, one is alone. */
const orderFamilies = (count: number): ReadonlyArray<Family> => [
  {
    count,
    at: (kept) => fates(`all names, the first ${kept} changes`, every, (index) => index < kept ? whole : lost)
  },
  { count, at: (one) => fates(`all but change ${one}`, every, (index) => index === one ? lost : whole) },
  {
    count,
    at: (one) => fates(`all names, only change ${one}`, every, (index) => index === one ? whole : lost)
  }
]

/**
 * One change is torn: at every sector from either side, with a hole in every sector, and where it grew the
 * file.
 */
const tornFamilies = (changes: ReadonlyArray<DataChange>): ReadonlyArray<Family> => {
  const list: Array<Family> = []
  changes.forEach((change, one) => {
    const sectors = sectorsOf(change)
    const last = (survival: Survival, story: string): Fates =>
      fates(
        `change ${one} ${story}, none after it`,
        every,
        (i) => i < one ? whole : i > one ? lost : survival,
        one
      )
    const amid = (survival: Survival, story: string): Fates =>
      fates(`change ${one} ${story}, the others whole`, every, (i) => i === one ? survival : whole, one)
    const holed = (filling: Sector) => (hole: number): Fates =>
      amid(torn((sector) => sector === hole ? filling : "new"), `has sector ${hole} ${filling}`)
    if (sectors > 1) {
      list.push(
        {
          count: sectors - 1,
          at: (cut) => last(torn((sector) => sector <= cut ? "new" : "old"), `ends after sector ${cut}`)
        },
        {
          count: sectors - 1,
          at: (cut) => last(torn((sector) => sector > cut ? "new" : "old"), `begins after sector ${cut}`)
        },
        { count: sectors, at: holed("old") }
      )
    }
    if (change._tag === "Wrote") {
      list.push(
        { count: sectors, at: holed("zeros") },
        { count: sectors, at: holed("garbage") },
        { count: 1, at: () => amid(torn(() => "zeros"), "is all zeros") },
        { count: 1, at: () => amid(torn(() => "garbage"), "is all garbage") }
      )
    }
    list.push({
      count: cutsOf(change).length,
      at: (cut) => {
        const bytes = cutsOf(change)[cut]!
        return last(torn(() => "new", bytes), `ends after byte ${bytes}`)
      }
    })
  })
  return list
}

/** Bytes that a change covers. */
const lengthOf = (change: DataChange): number =>
  change._tag === "Wrote" ? change.bytes.length : Math.max(0, change.to - change.from)

const sectorsOf = (change: DataChange): number => {
  if (change._tag === "Resized") return 1
  const first = Math.floor(change.position / sectorBytes)
  return Math.ceil((change.position + change.bytes.length) / sectorBytes) - first
}

/**
 * Where growth may end inside a sector: beside every sector's edge, and at the change's first and last byte.
 */
const cutsOf = (change: DataChange): ReadonlyArray<number> => {
  const length = lengthOf(change)
  const cuts = new Set([1, length >> 1, length - 1])
  if (change._tag === "Wrote") {
    const first = sectorBytes - change.position % sectorBytes
    for (let edge = first; edge < length; edge += sectorBytes) cuts.add(edge - 1).add(edge + 1)
  }
  return [...cuts].filter((cut) => cut > 0 && cut < length).sort((a, b) => a - b)
}
