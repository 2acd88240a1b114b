/**
 * The size of an intent, and of what else is appended: what it takes in the log, known before it is written there.
 *
 * An upper bound, from nothing but keys and values: whoever asks refuses what has no room, so that it may never say too
 * little.
 */
import { RELOCATE_BYTES } from "../../log/Held.ts"
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
  if (intent.session !== undefined) {
    bytes += Buffer.byteLength(intent.session.serials.last.name) + writeOverheadBytes
  }
  for (const keyspace of intent.keyspaces()) {
    const { cleared, dropped, layout, name } = keyspace
    if (cleared || dropped) bytes += Buffer.byteLength(name) + Buffer.byteLength(layout) + writeOverheadBytes
    for (const { key, value } of keyspace.writes()) {
      if (value !== undefined) adds = true
      writes++
      bytes += key.length + (value?.length ?? 0) + writeOverheadBytes
    }
  }
  return { adds, bytes, writes }
}

/** What is appended that is no commit: values that are written anew, and names of sessions that end. */
export interface Upkeep {
  readonly moves?: ReadonlyArray<{ readonly key: Uint8Array; readonly value: Uint8Array }>
  readonly names?: ReadonlyArray<string>
}

/** Values that are moved change the leaves of their keys, too. */
export const sizeOfUpkeep = ({ moves = [], names = [] }: Upkeep): Size => {
  let bytes = 0
  for (const { key, value } of moves) bytes += key.length + value.length + writeOverheadBytes + RELOCATE_BYTES
  for (const name of names) bytes += Buffer.byteLength(name) + writeOverheadBytes
  return { adds: false, bytes, writes: moves.length }
}
