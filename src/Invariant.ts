/**
 * The one way to die: invariants, cited by file and number.
 *
 * A bad disk or a bad argument is a typed error; an invariant that does not hold is a defect of the engine, and
 * going on would make it worse.
 */

/**
 * Dies when an invariant does not hold. `name` cites it by file and number (`"Page I3"`), so that a report leads
 * straight to the rule that broke.
 */
export function invariant(condition: boolean, name: string): asserts condition {
  if (!condition) throw new Error(`invariant violated: ${name}`)
}

/** Whether something died of that. */
export const isViolation = (cause: unknown): cause is Error =>
  cause instanceof Error && cause.message.startsWith("invariant violated: ")
