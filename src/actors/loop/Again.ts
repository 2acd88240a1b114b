/**
 * Asking again: what the Tree needs of the disk is asked for a few times before the store stops for it.
 */
import * as Schedule from "effect/Schedule"
import type { StoreError } from "../../StoreError.ts"

/** A page that could not be read, or room that could not be made, within about a second. */
export const again = {
  times: 4,
  schedule: Schedule.exponential("50 millis"),
  while: ({ reason }: StoreError): boolean => reason._tag === "DiskFailed"
}
