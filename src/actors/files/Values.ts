/**
 * Large values: those that live in the log only.
 *
 * A leaf holds where such a value is (LSN, length, checksum). Reading one takes it from the tail while it is in memory,
 * from its segment otherwise, and verifies it by its own checksum.
 */
import * as Effect from "effect/Effect"
import { crc32 } from "node:zlib"
import { segmentName } from "../../log/Segment.ts"
import type { Tail } from "../../log/Tail.ts"
import type { StoreError } from "../../StoreError.ts"
import { Corrupted, storeError } from "../../StoreError.ts"
import type { Segments } from "./Segments.ts"

/** Where a large value is, and what it must hash to. */
export interface Reference {
  readonly lsn: number
  readonly bytes: number
  readonly checksum: number
}

/** The log, to read from. */
export interface Log {
  readonly directory: string
  readonly segments: Segments
  /** What is not written yet; there is none before recovery has ended. */
  tail: Tail | undefined
}

/** Reads a large value; the answer is the caller's own. */
export const fetch = (
  options: Readonly<Log>,
  reference: Reference
): Effect.Effect<Uint8Array, StoreError> =>
  Effect.suspend(() => {
    const view = options.tail?.read(reference.lsn, reference.bytes)
    if (view !== undefined) return Effect.succeed(Uint8Array.from(view))
    return Effect.flatMap(options.segments.read(reference.lsn, reference.bytes), (bytes) =>
      verified(options, reference, bytes))
  })

/** The bytes, if they are those that a reference names. */
export const verified = (
  options: { readonly directory: string; readonly segments: Segments },
  { checksum, lsn }: Reference,
  bytes: Uint8Array | undefined
): Effect.Effect<Uint8Array, StoreError> => {
  const actual = bytes === undefined ? undefined : crc32(bytes)
  if (bytes !== undefined && actual === checksum >>> 0) return Effect.succeed(bytes)
  const place = options.segments.placeOf(lsn)
  return Effect.fail(storeError(
    new Corrupted({
      path: place === undefined
        ? `${options.directory}/log`
        : `${options.directory}/${segmentName(place.sequence)}`,
      offset: place?.offset ?? 0,
      expected: `a value with checksum ${checksum >>> 0}`,
      actual: actual === undefined ? "the end of the file" : String(actual)
    })
  ))
}
