/**
 * Admission: whether a commit may be appended now, and whether waiting for that is of any use.
 *
 * Commits wait while the Tree is behind, or the log as long as it may be: both pass by themselves, the second with the
 * next checkpoint. Where checkpoints fail, it does not, and nobody may wait for ever: then commits are refused with the
 * reason, until one has succeeded.
 */
import type { Limits } from "../Limits.ts"
import type { StoreError } from "../StoreError.ts"
import type { Pages } from "../tree/memory/Pages.ts"
import type { Reserve } from "./files/Reserve.ts"

/** Checkpoints that fail in a row, a second apart, before nobody waits for the next one: one may have had bad luck. */
const failuresMost = 3

export interface Options {
  readonly limits: Limits
  /** Records that the Tree has yet to apply, and the bytes of what it keeps for that. */
  readonly tree: { readonly backlog: number; readonly parkedBytes: number }
  readonly pages: Pages
  readonly reserve: Pick<Reserve, "isFull" | "refuse">
  /** Log above the newest cut. */
  readonly logBytes: () => number
  /** How many checkpoints have failed since the last that succeeded, and the last error. */
  readonly failing: () => { readonly times: number; readonly error: StoreError | undefined }
}

export interface Admission {
  /** False while commits must wait. */
  readonly admits: () => boolean
  /** Why so many that wait will not be admitted soon. */
  readonly refusal: (commits: number) => StoreError | undefined
}

export const make = (options: Options): Admission => {
  const { failing, limits, logBytes, pages, reserve, tree } = options
  return {
    admits: () =>
      tree.backlog < limits.mailbox
      && tree.parkedBytes < limits.stagingBytes
      && logBytes() < limits.checkpoint.hardLogBytes
      && pages.captured.bytes < limits.stagingBytes,
    refusal: (commits) => {
      if (logBytes() < limits.checkpoint.hardLogBytes) return undefined
      if (reserve.isFull) return reserve.refuse(0, commits)
      const { error, times } = failing()
      return times < failuresMost ? undefined : error
    }
  }
}
