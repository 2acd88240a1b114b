/**
 * Crash tests of programs on a store: the power is cut before an operation of the disk, the store is opened again on
 * what is left, and what the program promises is checked. Hundreds of times, each from a seed.
 *
 * A program is run under a schedule (`Schedule.ts`) on a disk that fails (`FaultDisk`), so a case names its failure
 * exactly and `replay` shows it again. It is run once to count its operations and once to take the states that were
 * planned; the second run must do what the first did. The program does not notice the cut: it is dead.
 *
 * - C1 A check sees what was told before the cut, all of it, and nothing that was told later.
 * - C2 Equal options give equal reports.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type { Disk } from "../disk/Disk.ts"
import type { FaultDisk, Image, Observed } from "../disk/FaultDisk.ts"
import type { Chance } from "./Chance.ts"
import * as Chances from "./Chance.ts"
import type { Cut, Spot } from "./CrashPlan.ts"
import { plan, spotOf } from "./CrashPlan.ts"
import type { Moment, Setting } from "./Life.ts"
import { live } from "./Life.ts"
import type { Stuck } from "./Schedule.ts"

export type { Cut, Stuck }

/** What is tried. `R` is whatever the layer makes, `A` what the program tells. */
export interface Options<A, R, E, EP, EC> {
  /** The store, and what of the program stands on it, built anew for each life. `Store.layerDisk(…)` will do. */
  readonly layer: Layer.Layer<R, E, Disk>
  /**
   * What is interrupted. It calls `tell` where the world learns of something: after a commit, with whatever must
   * still hold then. It may use `FaultDisk` to add faults of other kinds.
   */
  readonly program: (
    tell: (what: A) => Effect.Effect<void>
  ) => Effect.Effect<unknown, EP, R | Disk | FaultDisk>
  /** Fails or dies where the store that was opened again is not what it should be. */
  readonly check: (told: ReadonlyArray<A>) => Effect.Effect<unknown, EC, R | Disk | FaultDisk>
  /** Power cuts, shared out among the seeds. Default 200. */
  readonly crashes?: number
  /** Each is another schedule. Default 1 to 10. */
  readonly seeds?: ReadonlyArray<number>
  /** Share of the cuts after which the power is cut again while the store is opened and checked. Default 0.1. */
  readonly again?: number
  /** What is on the disk at first. Default: nothing. */
  readonly image?: Image
  /** Called after each check. */
  readonly progress?: (progress: Progress) => Effect.Effect<void>
}

/** So far. */
export interface Progress {
  readonly seed: number
  readonly crashes: number
  readonly of: number
  readonly again: number
  readonly violations: number
}

/** One state: a seed, and the power cuts that lead to it, the second during recovery from the first. */
export interface Case {
  readonly seed: number
  readonly cuts: ReadonlyArray<Cut>
}

export interface Report {
  readonly seeds: number
  /** Operations of the disk before which the power might have been cut. */
  readonly operations: number
  /** Cuts of the program after which the store was opened and checked. */
  readonly crashes: number
  /** Cuts during a recovery and its check after which the same was done. */
  readonly again: number
  readonly violations: ReadonlyArray<Violation>
}

/** A state that should never be found. Its `cause` is that of the check, or of opening the store. */
export class Violation extends Data.TaggedError("Violation")<{
  readonly case: Case
  /** Where the power was cut and what was left, in words. */
  readonly cuts: ReadonlyArray<string>
  readonly told: ReadonlyArray<unknown>
  /** What the check or the store said. */
  readonly said: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message(): string {
    const again = `CrashTest.replay(options, ${JSON.stringify(this.case)})`
    return `After a power cut ${
      this.cuts.join(", and another one ")
    }, when ${this.told.length} things had been told: `
      + `${this.said}. Look at it with ${again}`
  }
}

/** A program did something else when it was run again. */
export class Unrepeatable extends Data.TaggedError("Unrepeatable")<{ readonly seed: number }> {
  override get message(): string {
    return `The program did something else when it was run again with seed ${this.seed}: let time and `
      + "chance come from Clock and Random, and let nothing outlive a run"
  }
}

/** The options themselves, with types that are inferred: annotate what `check` is given, if anything. */
export const make = <A, R, E, EP, EC>(
  options: Options<A, R, E, EP, EC>
): Options<A, R, E, EP, EC> => options

/** Tries all cases, and fails with the first violation. For tests. */
export const run = <A, R, E, EP, EC>(
  options: Options<A, R, E, EP, EC>
): Effect.Effect<Report, Violation | Unrepeatable | Stuck | E | EP> =>
  tried(options, (violation) => Effect.fail(violation))

/** Tries all cases, and reports every violation. */
export const explore = <A, R, E, EP, EC>(
  options: Options<A, R, E, EP, EC>
): Effect.Effect<Report, Unrepeatable | Stuck | E | EP> => tried(options, () => Effect.void)

/** Tries one case, which a violation names. */
export const replay = <A, R, E, EP, EC>(
  options: Options<A, R, E, EP, EC>,
  { cuts, seed }: Case
): Effect.Effect<void, Violation | Unrepeatable | Stuck | E | EP> =>
  Effect.gen(function*() {
    const [first, ...others] = cuts
    if (first === undefined) throw new RangeError("a case has one cut or more")
    let [state] = (yield* shot(programmed(options, seed), [first])).states
    for (const cut of others) {
      if (state === undefined) break
      state = (yield* shot(checked(options, state), [cut])).states[0]
    }
    if (state === undefined) return yield* new Unrepeatable({ seed })
    const { violation } = yield* judged(options, state)
    if (violation !== undefined) return yield* violation
  })

/** What a power cut left, and how it came to it. */
interface State<A> {
  readonly case: Case
  readonly stories: ReadonlyArray<string>
  readonly image: Image
  readonly told: ReadonlyArray<A>
  readonly millis: number
}

/** A life that may be cut short, by the program or by a check. */
interface Scene<A, R, E, E2> {
  readonly setting: Setting<unknown, R, E, E2>
  /** The cuts before this life. */
  readonly before: Pick<State<A>, "case" | "stories">
  /** What has been told by now. */
  readonly told: () => ReadonlyArray<A>
}

const programmed = <A, R, E, EP, EC>(
  { image, layer, program }: Options<A, R, E, EP, EC>,
  seed: number
): Scene<A, R, E, EP> => {
  const told: Array<A> = []
  const body = program((what) => Effect.sync(() => void told.push(what)))
  return {
    setting: { seed, layer, body, image },
    before: { case: { seed, cuts: [] }, stories: [] },
    told: () => told.slice()
  }
}

const checked = <A, R, E, EP, EC>(
  { check, layer }: Options<A, R, E, EP, EC>,
  state: State<A>
): Scene<A, R, E, EC> => {
  const { case: { cuts, seed }, image, millis, told } = state
  // A life of its own has chances of its own: what a store draws to tell its lives apart must differ.
  const own = Math.imul(seed, 0x9e3779b1) + cuts.length | 0
  return { setting: { seed: own, layer, body: check(told), image, millis }, before: state, told: () => told }
}

/** Lives through a scene and finds where it may be cut. */
const scouted = <A, R, E, E2>({ setting }: Scene<A, R, E, E2>) =>
  Effect.suspend(() => {
    const spots: Array<Spot> = []
    return Effect.map(
      live(setting, (moment) => void spots.push(spotOf(moment))),
      (lived) => ({ ...lived, spots })
    )
  })

/** Lives through a scene and takes the state after each cut. */
const shot = <A, R, E, E2>({ before, setting, told }: Scene<A, R, E, E2>, cuts: ReadonlyArray<Cut>) =>
  Effect.suspend(() => {
    const states: Array<State<A>> = []
    const take = ({ faults, millis, number, operation }: Moment): void => {
      for (const cut of cuts) {
        if (cut.before !== number) continue
        const image = faults.crashImage(cut.crash)
        states.push({
          case: { seed: before.case.seed, cuts: [...before.case.cuts, cut] },
          stories: [...before.stories, `${placeOf(number, operation)} (${image.story})`],
          image,
          told: told(),
          millis
        })
      }
    }
    return Effect.map(live(setting, take), ({ trace }) => ({ states, trace }))
  })

const placeOf = (number: number, operation: Observed | undefined): string =>
  operation === undefined
    ? "after the end"
    : `before operation ${number}, ${operation.operation} ${operation.path}`

/** Opens the store on a state, and checks it. */
const judged = <A, R, E, EP, EC>(options: Options<A, R, E, EP, EC>, state: State<A>) =>
  scouted(checked(options, state)).pipe(
    Effect.map(({ exit, spots }) => ({ spots, cause: Exit.isFailure(exit) ? exit.cause : undefined })),
    // Whoever waits for ever after a power cut has not survived it.
    Effect.catch((stuck) => Effect.succeed({ spots: [], cause: Cause.die(stuck) })),
    Effect.map(({ cause, spots }) => {
      const { case: each, stories: cuts, told } = state
      const said = cause === undefined ? "" : String(Cause.squash(cause))
      return { spots, violation: cause && new Violation({ case: each, cuts, told, said, cause }) }
    })
  )

const tried = <A, R, E, EP, EC, EV>(
  options: Options<A, R, E, EP, EC>,
  objected: (violation: Violation) => Effect.Effect<void, EV>
): Effect.Effect<Report, EV | Unrepeatable | Stuck | E | EP> =>
  Effect.gen(function*() {
    const { again: repeated = 0.1, crashes: most = 200, progress, seeds = firstTen } = options
    const violations: Array<Violation> = []
    const count = { operations: 0, crashes: 0, again: 0 }
    /** Checks a state; answers where this check may be cut itself. */
    const judge = (state: State<A>) =>
      Effect.gen(function*() {
        yield* Effect.yieldNow
        const { spots, violation } = yield* judged(options, state)
        const { case: { cuts, seed } } = state
        if (cuts.length > 1) count.again++
        else count.crashes++
        if (violation !== undefined) violations.push(violation)
        const { again, crashes } = count
        yield* progress?.({ seed, crashes, of: most, again, violations: violations.length }) ?? Effect.void
        if (violation !== undefined) yield* objected(violation)
        return spots
      })
    for (const [index, seed] of seeds.entries()) {
      const chance = Chances.make(seed)
      const share = Math.ceil((most - count.crashes) / (seeds.length - index))
      const { operations, states } = yield* planned(options, seed, share, chance)
      count.operations += operations
      for (const state of states) {
        const spots = yield* judge(state)
        if (!chance.bool(repeated)) continue
        const [cut] = plan(spots, 1, chance)
        const inner = cut && (yield* Effect.option(shot(checked(options, state), [cut])))
        const found = inner?._tag === "Some" ? inner.value.states[0] : undefined
        if (found === undefined) continue
        yield* judge(found)
      }
    }
    return { seeds: seeds.length, ...count, violations }
  })

const firstTen: ReadonlyArray<number> = Array.from({ length: 10 }, (_, index) => index + 1)

/** The states of one seed. */
const planned = <A, R, E, EP, EC>(
  options: Options<A, R, E, EP, EC>,
  seed: number,
  most: number,
  chance: Chance
) =>
  Effect.gen(function*() {
    const scout = yield* scouted(programmed(options, seed))
    if (Exit.isFailure(scout.exit)) return yield* Effect.failCause(scout.exit.cause)
    const cuts = plan(scout.spots, most, chance)
    const { states, trace } = yield* shot(programmed(options, seed), cuts)
    if (trace !== scout.trace || states.length !== cuts.length) return yield* new Unrepeatable({ seed })
    return { operations: scout.spots.length, states }
  })
