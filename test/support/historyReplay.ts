/**
 * Whether a history can have happened one transaction after another, in the order of LSNs.
 *
 * The LSN of a commit is its place in the order, so there is nothing to search for: all is played again by the model
 * in that order, and everybody must have seen exactly what the model answers, ranges and their limits included. What
 * only read has its place at the LSN of its snapshot. A crash may take an end of the order away, no other part, and
 * nothing that somebody was told is safe.
 */
import type { Attempt, History, Life, Serial, Transaction } from "./history.ts"
import type { State, Step } from "./storeModel.ts"
import { difference, livingState, play, stamped, stateDifference } from "./storeModel.ts"

export interface Problem {
  readonly checker:
    | "replay"
    | "snapshot"
    | "realtime"
    | "durability"
    | "cycles"
    | "registers"
    | "bank"
    | "sessions"
  /** The anomaly's name. */
  readonly name: string
  readonly text: string
}

/** A commit in its place. */
interface Placed {
  readonly lsn: number
  readonly transaction: Transaction
}

/** The commits of a life in their order, and the states between them: `states[n]` is after the first n. */
export interface Order {
  readonly commits: ReadonlyArray<Placed>
  readonly states: ReadonlyArray<State>
}

const lastOf = ({ attempts }: Transaction): Attempt | undefined => attempts.at(-1)

/** The first difference between what was seen and what the model answers. */
const seenOtherwise = (state: State, { now, results, steps }: Attempt): string | undefined => {
  const expected = play(state, steps, now).results
  for (const [index, answer] of expected.entries()) {
    const differs = difference(results[index], answer)
    if (differs !== undefined) return `answer ${index}: ${differs}`
  }
  return undefined
}

/** The commits of a life in their order. */
export const commitsOf = ({ transactions }: Life): ReadonlyArray<Placed> =>
  transactions.flatMap((transaction) =>
    transaction.appended === undefined ? [] : [{ lsn: transaction.appended, transaction }]
  ).sort((a, b) => a.lsn - b.lsn)

/** Plays the commits of a life. */
const replay = (life: Life, problems: Array<Problem>): Order => {
  const commits = commitsOf(life)
  const states: Array<State> = [life.found]
  let before = life.found
  for (const [index, { lsn, transaction }] of commits.entries()) {
    if (commits[index - 1]?.lsn === lsn) {
      problems.push({ checker: "replay", name: "one LSN twice", text: `transaction ${transaction.id}` })
    }
    const attempt = lastOf(transaction)
    if (attempt === undefined) throw new Error("a commit without a body")
    const differs = seenOtherwise(before, attempt)
    if (differs !== undefined) {
      const text = `transaction ${transaction.id}, committed at ${lsn} from ${attempt.at}, ${differs}`
      problems.push({ checker: "replay", name: "not serializable", text })
    }
    before = stamped(before, play(before, attempt.steps, attempt.now).state, lsn)
    states.push(before)
  }
  return { commits, states }
}

/** How many commits lie below an LSN. */
const below = (commits: ReadonlyArray<Placed>, lsn: number): number => {
  const index = commits.findIndex((commit) => commit.lsn >= lsn)
  return index < 0 ? commits.length : index
}

/** Every run of every body sees one state, whatever becomes of it. */
const snapshots = (life: Life, { commits, states }: Order, problems: Array<Problem>): void => {
  for (const transaction of life.transactions) {
    if (transaction.door === "raw") continue
    for (const attempt of transaction.attempts) {
      const differs = seenOtherwise(states[below(commits, attempt.at)] as State, attempt)
      if (differs === undefined) continue
      const text = `transaction ${transaction.id}, a run at ${attempt.at}, ${differs}`
      problems.push({ checker: "snapshot", name: "not a snapshot", text })
    }
  }
}

/** What a run makes of a state where that is not the same, but for what is hidden. */
const changed = (state: State, { now = -Infinity, steps }: Attempt): string | undefined =>
  stateDifference(livingState(play(state, steps, now).state, now), livingState(state, now))

/** What was answered is what the log did. */
const answers = (life: Life, { commits, states }: Order, problems: Array<Problem>): void => {
  const report = (name: string, { id }: Transaction, text: string): void =>
    void problems.push({ checker: "replay", name, text: `transaction ${id}: ${text}` })
  for (const transaction of life.transactions) {
    const { appended, outcome } = transaction
    const attempt = lastOf(transaction)
    if (outcome._tag === "failed" && appended !== undefined) {
      report("committed though it failed", transaction, `the log has it at ${appended}`)
    }
    if (outcome._tag !== "committed" || attempt === undefined) continue
    if (appended !== undefined) {
      if (appended !== outcome.lsn) {
        report("wrong LSN", transaction, `answered ${outcome.lsn}, logged at ${appended}`)
      }
      continue
    }
    // It wrote nothing that is not so already, and has its place where it was answered.
    const place = below(commits, outcome.lsn)
    const state = states[place] as State
    const differs = seenOtherwise(state, attempt)
      ?? changed(state, attempt)
    if (differs !== undefined) report("not serializable", transaction, `at ${outcome.lsn}, ${differs}`)
  }
}

/** Between two commits is the place of who only read: everything below its LSN, nothing else. */
const placeOf = (transaction: Transaction): number | undefined => {
  if (transaction.appended !== undefined) return transaction.appended + 0.5
  return transaction.outcome._tag === "committed" ? transaction.outcome.lsn : undefined
}

/** Who began after another had ended comes after it. */
const realTime = (life: Life, problems: Array<Problem>): void => {
  const placed = life.transactions.filter(({ ended, outcome }) =>
    outcome._tag === "committed" && ended < life.broken
  )
  for (const later of placed) {
    for (const earlier of placed) {
      const [before, after] = [placeOf(earlier), placeOf(later)]
      if (
        earlier.unseen === true || earlier.ended > later.invoked || before === undefined ||
        after === undefined || before <= after
      ) {
        continue
      }
      const text = `transaction ${later.id} (${later.door}) has its place at ${after}, `
        + `transaction ${earlier.id} had ended before it began and is at ${before}`
      problems.push({ checker: "realtime", name: "not in real time", text })
    }
  }
}

const looks: ReadonlySet<Step["_tag"]> = new Set(["get", "getMany", "first", "range"])

const onlyRead = (attempt: Attempt | undefined): boolean =>
  attempt?.steps.every(({ _tag }) => looks.has(_tag)) === true

const isSame = (a: Serial | undefined, b: Serial | undefined): boolean =>
  a !== undefined && a.name === b?.name && a.serial === b.serial

/** How many commits of a life must be there afterwards. */
const promisedCount = (life: Life, { commits }: Order): number => {
  if (life.end === "closed" && life.broken === Infinity) return commits.length
  let promised = below(commits, life.promised)
  for (const transaction of life.transactions) {
    const { door, durability, ended, hooked, outcome, session } = transaction
    const isDurable = durability === "synced" || (durability === "buffered" && life.end === "killed")
    if (outcome._tag === "repeated" && isDurable) {
      const first = commits.findIndex((commit) => isSame(commit.transaction.session, session))
      promised = Math.max(promised, first + 1)
    }
    if (outcome._tag !== "committed") continue
    const survives = hooked || isDurable || (life.end === "closed" && ended < life.broken)
    if (transaction.appended !== undefined && survives) {
      promised = Math.max(promised, below(commits, transaction.appended + 1))
    }
    // What a transaction that only read has answered may not be taken back.
    if (transaction.appended === undefined && door === "transact" && onlyRead(lastOf(transaction))) {
      promised = Math.max(promised, below(commits, outcome.lsn))
    }
  }
  return promised
}

/** What is found is what the first so many commits made, with all that were promised; answers how many they are. */
const survival = (life: Life, order: Order, next: Life, problems: Array<Problem>): number => {
  const promised = promisedCount(life, order)
  const shown = order.states.map((state) => livingState(state, next.foundAt))
  const known = shown.findLastIndex((state) => stateDifference(next.found, state) === undefined)
  if (known >= promised) return known
  const allowed = shown.slice(promised)
  const name = known < 0 ? "no prefix of the commits" : "a promised commit is lost"
  const text = known < 0
    ? allowed.slice(0, 3).map((state) => stateDifference(next.found, state)).join(" | ")
    : `${known} of ${order.commits.length} commits are there, ${promised} were promised`
  problems.push({ checker: "durability", name, text: `after the life was ${life.end}: ${text}` })
  return Math.max(0, known)
}

export interface Replayed {
  readonly problems: ReadonlyArray<Problem>
  /** How many of its commits outlived each life. */
  readonly kept: ReadonlyArray<number>
}

/** Everything that is wrong with a history whose order is that of LSNs. */
export const checkReplay = (history: History): Replayed => {
  const problems: Array<Problem> = []
  const kept: Array<number> = []
  history.forEach((life, index) => {
    const order = replay(life, problems)
    snapshots(life, order, problems)
    answers(life, order, problems)
    realTime(life, problems)
    const next = history[index + 1]
    kept.push(next === undefined ? order.commits.length : survival(life, order, next, problems))
  })
  return { problems, kept }
}
