/**
 * How the page file becomes shorter: which slots are to be emptied, and how long the file is to be.
 *
 * Images are copied from the end of the file into free slots further down; when no retained checkpoint refers to the
 * old ones any more, the end is free and is cut off. Pure decisions; the work is in `actors/checkpoint/Mover.ts` and
 * `actors/Flush.ts`.
 *
 * I1 For every live slot at `from` or above there is a free one below, beyond those that the checkpoint takes anyway.
 * I2 No more than `most` slots are to be emptied at a time, and none while a quarter of the file or less is to spare.
 */
import type { PageFile } from "./PageFile.ts"

export interface Plan {
  /** Images in this slot and above are to be moved. */
  readonly from: number
  /** Live slots there. */
  readonly moves: number
}

/**
 * Which end of the file is to be emptied; undefined where the file is full enough. `needed`: free slots that the
 * checkpoint ahead will take for what it writes anyway. `most`: moves when nearly all is free; the less there is to
 * spare, the fewer.
 */
export function plan(
  slots: PageFile,
  options: { readonly needed: number; readonly most: number }
): Plan | undefined {
  const all = slots.slots - 1
  const beyond = 4 * (slots.freeCount - options.needed) - all
  if (beyond <= 0) return undefined
  const budget = Math.ceil(options.most * beyond / (3 * all))
  let from = slots.slots
  let moves = 0
  let room = -options.needed
  for (let below = 0; moves < budget && from - 1 > below; from--) {
    if (slots.stateOf(from - 1) !== "live") continue
    while (room <= moves && below + 1 < from - 1) if (slots.stateOf(++below) === "free") room++
    if (room <= moves) break
    moves++
  }
  return moves === 0 ? undefined : { from, moves }
}

/** Slots by which the file may be longer than the books, so that it does not shrink and grow in turns. */
const slackOf = (slots: number): number => Math.max(8, slots >>> 4)

/**
 * The length to cut a file of `fileBytes` to, of which `slots` slots are in the books; undefined where it is not worth
 * it: twice the slack must be over.
 */
export function cutTo(slots: number, fileBytes: number, pageBytes: number): number | undefined {
  const slack = slackOf(slots)
  return fileBytes > (slots + 2 * slack) * pageBytes ? (slots + slack) * pageBytes : undefined
}
