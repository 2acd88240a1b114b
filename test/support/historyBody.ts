/**
 * How the body of a drawn transaction is carried out, and what of it is noted.
 *
 * What was carried out to its end is noted as steps of the model, with their answers, so that the model can play them
 * again. A step that is given up for another is noted as a savepoint that failed: it comes to the same.
 */
import * as Effect from "effect/Effect"
import type * as Snapshot from "../../src/Snapshot.ts"
import type * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Attempt } from "./history.ts"
import type { Move } from "./historyWorkload.ts"
import { lookAtMarks, mark, putFleeting } from "./simulationBody.ts"
import type { Look } from "./storeDoor.ts"
import { look, perform } from "./storeDoor.ts"
import type { Result, Row, Step } from "./storeModel.ts"

type Access = Tx.Tx | Snapshot.Snapshot | Store.Store
type Failure = StoreError | "rolled back"

/** Where steps are noted; those of a savepoint by themselves. */
export type Notes = Pick<Attempt, "steps" | "results">

/** Carries out the moves of a body. */
export const carryOut = (
  moves: ReadonlyArray<Move>,
  notes: Notes,
  pause: Effect.Effect<void>
): Effect.Effect<void, Failure, Access> =>
  Effect.forEach(moves, (move) => carryOutOne(move, notes, pause), { discard: true })

/** The same of moves that only look. */
export const lookOut = (
  moves: ReadonlyArray<Move>,
  notes: Notes,
  pause: Effect.Effect<void>
): Effect.Effect<void, StoreError, Snapshot.Snapshot> =>
  Effect.forEach(moves, (move) => {
    if (move._tag === "marks") return lookAtMarks(notes)
    if (move._tag !== "step") return pause
    return Effect.map(look(move.step as Look), (result) => {
      notes.results.push(result)
      notes.steps.push(move.step)
    })
  }, { discard: true })

const carryOutOne = (
  move: Move,
  notes: Notes,
  pause: Effect.Effect<void>
): Effect.Effect<void, Failure, Access> => {
  switch (move._tag) {
    case "step":
      return Effect.asVoid(done(move.step, notes))
    case "pause":
      return pause
    case "fail":
      return Effect.fail("rolled back")
    case "die":
      return Effect.die("a body that dies")
    case "fleeting":
      return putFleeting(move, notes)
    case "mark":
      return mark(move, notes)
    case "marks":
      return lookAtMarks(notes)
    case "append":
      return Effect.flatMap(
        done({ _tag: "get", keyspace: "journal", key: move.key }, notes),
        (seen) => putInstead("journal", move.key, (valueOf(seen) ?? "") + move.element, notes)
      )
    case "transfer":
      return transfer(move, notes)
    case "savepoint":
      return savepoint(move, notes, pause)
    case "orElse": {
      const inner: Notes = { steps: [], results: notes.results }
      const others = Effect.suspend(() => {
        notes.steps.push({ _tag: "savepoint", steps: inner.steps, fails: true })
        return carryOut(move.others, notes, pause)
      })
      return Tx.orElse(others)(Effect.andThen(carryOut(move.moves, inner, pause), Tx.retry))
    }
  }
}

const savepoint = (
  { fails, moves }: Move & { readonly _tag: "savepoint" },
  notes: Notes,
  pause: Effect.Effect<void>
): Effect.Effect<void, Failure, Access> => {
  const inner: Notes = { steps: [], results: notes.results }
  const end = fails ? Effect.fail("step failed" as const) : Effect.void
  const body = Effect.andThen(carryOut(moves, inner, pause), end)
  // A transaction inside another one is a step of it.
  const step: Effect.Effect<void, Failure | "step failed", Access> = moves.length > 1
    ? Tx.transact()(body)
    : Tx.savepoint(body)
  return Effect.catch(step, (error) => error === "step failed" ? Effect.void : Effect.fail(error)).pipe(
    Effect.map(() => void notes.steps.push({ _tag: "savepoint", steps: inner.steps, fails }))
  )
}

/** Carries out a step and answers what it answered. */
const done = (step: Step, notes: Notes): Effect.Effect<Result | undefined, StoreError, Access> =>
  Effect.suspend(() => {
    const before = notes.results.length
    return Effect.map(perform([step], notes.results), () => {
      notes.steps.push(step)
      return notes.results[before]
    })
  })

const putInstead = (keyspace: string, key: string, value: string, notes: Notes) =>
  Effect.asVoid(done({ _tag: "put", keyspace, key, value }, notes))

const valueOf = (result: Result | undefined): string | undefined =>
  typeof result === "object" ? (result[0] as Row | undefined)?.value : undefined

/** Moves as much as there is, in one of the ways in which a program may do it. */
const transfer = (
  { amount, from, to }: Move & { readonly _tag: "transfer" },
  notes: Notes
): Effect.Effect<void, StoreError, Access> =>
  Effect.gen(function*() {
    const source = Number(valueOf(yield* done({ _tag: "get", keyspace: "bank", key: from }, notes)))
    const target = Number(valueOf(yield* done({ _tag: "get", keyspace: "bank", key: to }, notes)))
    const moved = Math.min(amount, source)
    yield* putInstead("bank", from, String(source - moved), notes)
    yield* putInstead("bank", to, String(target + moved), notes)
  })
