/**
 * The answer of every decoder of the log to bytes that break its rules.
 *
 * Bad bytes are an answer, never an exception and never a partial result: the caller knows the file they came from
 * and turns the answer into its own error.
 */

/** `offset` is in bytes from the start of what was decoded; `reason` names the rule that is broken. */
export interface Invalid {
  readonly _tag: "Invalid"
  readonly offset: number
  readonly reason: string
}

export const invalid = (offset: number, reason: string): Invalid => ({ _tag: "Invalid", offset, reason })
