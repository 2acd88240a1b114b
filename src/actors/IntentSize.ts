/**
 * The size of an intent: what a commit takes in the log, known before it is written there.
 *
 * An upper bound, from nothing but keys and values: whoever asks refuses what has no room, so that it may never say too
 * little.
 */
import type { Intent } from "./Intent.ts"

/** Bytes of a write in the log beside its key and value, at most. */
const writeOverheadBytes = 40

export interface Size {
  /** Whether it adds anything. */
  readonly adds: boolean
  readonly writes: number
  /** What it takes in the log, about. */
  readonly bytes: number
}

export const sizeOf = (intent: Intent): Size => {
  let adds = false
  let bytes = 0
  let writes = 0
  for (const keyspace of intent.keyspaces()) {
    for (const { key, value } of keyspace.writes()) {
      if (value !== undefined) adds = true
      writes++
      bytes += key.length + (value?.length ?? 0) + writeOverheadBytes
    }
  }
  return { adds, bytes, writes }
}
