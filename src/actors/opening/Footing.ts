/**
 * Where a store is opened from: its newest checkpoint, or, where the pages of that are damaged, what can rebuild it.
 *
 * ```
 *   newest checkpoint ─ damaged ─▶ older checkpoint ─ damaged ─▶ beginning of the log ─ damaged ─▶ the first error
 *         + log                          + log                        nothing + log
 * ```
 *
 * The log from any of them up to its end makes the same store: it is replayed, must reach what is known to be
 * durable, and the checkpoints that follow write over what is damaged. Nothing is written before to make it so, and
 * what the damaged checkpoint refers to is kept until then: should it be read well next time, it is as good as ever.
 *
 * Map table, catalog and mini-pages are read by every opening. All other pages are, too, where the life before met a
 * damaged one (`Damage.ts`); where nothing can rebuild it, the store is opened as it is, without those keys.
 *
 * I1 A checkpoint is given up only for pages: damage in the log above it is none, the older one needs that log too.
 * I2 The version of a checkpoint that may have been is never used again.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Superblock } from "../../log/Superblock.ts"
import { superblockOffset } from "../../log/Superblock.ts"
import type { Corrupted, StoreError } from "../../StoreError.ts"
import type { Damage } from "../files/Damage.ts"
import { damageOf } from "../files/Damage.ts"
import { fresh } from "../files/Directory.ts"
import { damaged } from "./Restore.ts"
import type { Superblocks } from "./Restore.ts"

/** One attempt to open a store. */
export interface Footing {
  /** Why better checkpoints than this attempt's could not be used. */
  readonly refused: ReadonlyArray<Corrupted>
  /** Whether pages are looked at if there is a mark: not where none of all attempts had sound ones. */
  readonly pages: "looked at" | "as they are"
  /** Found when the pages of the newest checkpoint were looked at. */
  unsound: Corrupted | undefined
}

/** For whoever opens a store beside its owner: what is damaged is the owner's to rebuild. */
export const asItIs = (): Footing => ({ refused: [], pages: "as they are", unsound: undefined })

/** What a store is opened from. */
export interface Roots {
  /** The checkpoint that replay begins at. */
  readonly newest: Superblock
  readonly older: Superblock | undefined
  /** The largest version that a checkpoint may have had. */
  readonly version: number
  /** D, as far as the superblocks know. */
  readonly durableLsn: number
  /** Whether a checkpoint above `newest` is given up: the log may have been truncated for it, up to this one's cut. */
  readonly superseded: boolean
  /** Slots below this one may be referred to by a checkpoint that was given up. */
  readonly keptSlots: number
  readonly damage: ReadonlyArray<Damage>
}

/** What an attempt opens the store from; fails where nothing is left. */
export const rootsAt = (
  { damage, newest, older, path }: Superblocks,
  { refused, unsound }: Pick<Footing, "refused" | "unsound">
): Effect.Effect<Roots, StoreError> =>
  Effect.suspend(() => {
    const readable = older === undefined ? [newest] : [newest, older]
    const candidates = [...readable]
    if (newest.begin.lsn < newest.cut.lsn && newest.begin.lsn === fresh(newest).begin.lsn) {
      // It takes the place of the last one, which the second checkpoint from here on writes over.
      const { slot } = readable.at(-1) as Superblock
      candidates.push({ ...fresh(newest), slot, version: 0 })
    }
    const chosen = candidates[refused.length]
    if (chosen === undefined) return damaged(path, 0, "a checkpoint that can be read", "none")
    const other = superblockOffset(newest.slot === 0 ? 1 : 0)
    const unreadable: ReadonlyArray<Damage> = damage === undefined
      ? []
      : [{ path, offset: other, expected: "a superblock", actual: damage, outcome: "rebuilt" }]
    const givenUp = readable.slice(0, refused.length)
    return Effect.succeed({
      newest: chosen,
      older: refused.length === 0 ? older : undefined,
      // A superblock that cannot be read may have had the next version.
      version: newest.version + (damage === undefined ? 0 : 1),
      durableLsn: Math.max(...readable.map(({ durableLsn }) => durableLsn)),
      superseded: damage !== undefined || refused.length > 0,
      keptSlots: Math.max(0, ...givenUp.map(({ slots }) => slots)),
      damage: [
        ...unreadable,
        ...refused.map((reason) => damageOf(reason, "rebuilt")),
        ...unsound === undefined ? [] : [damageOf(unsound, "left")]
      ]
    })
  })

/** The same where the older checkpoint is damaged: nothing is missing, and nothing can be rebuilt from it. */
export const without = (roots: Roots, older: Corrupted | undefined): Roots =>
  older === undefined
    ? roots
    : { ...roots, older: undefined, damage: [...roots.damage, damageOf(older, "rebuilt")] }

/** Opens a store from the best of what can be used; fails with what is wrong with the newest checkpoint. */
export const open = <A, R>(
  pagesPath: string,
  attempt: (footing: Footing) => Effect.Effect<A, StoreError, R | Scope.Scope>
): Effect.Effect<A, StoreError, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function*() {
    let unsound: Corrupted | undefined
    const from = (
      refused: ReadonlyArray<Corrupted>
    ): Effect.Effect<A, StoreError, Exclude<R, Scope.Scope> | Scope.Scope> =>
      Effect.suspend(() => {
        const footing: Footing = { refused, pages: "looked at", unsound: undefined }
        return Effect.catch(once(attempt(footing)), (error) => {
          const { reason } = error
          if (refused.length === 0) unsound = footing.unsound
          if (reason._tag !== "Corrupted" || reason.path !== pagesPath) return Effect.fail(error)
          return Effect.catch(from([...refused, reason]), () => Effect.fail(error))
        })
      })
    return yield* Effect.catch(from([]), (error) =>
      unsound === undefined
        ? Effect.fail(error)
        : once(attempt({ refused: [], pages: "as they are", unsound })))
  })

/** An attempt with a scope of its own, which ends at once where it fails. */
const once = <A, R>(
  attempt: Effect.Effect<A, StoreError, R | Scope.Scope>
): Effect.Effect<A, StoreError, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.flatMap(Effect.scope, (outer) =>
    Effect.flatMap(Scope.fork(outer), (scope) =>
      Effect.onExit(
        Scope.provide(attempt, scope),
        (exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)
      )))
