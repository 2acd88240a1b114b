/**
 * Telling of a commit: to transactions that are open, and to those that wait for a change.
 *
 * A part of the Wal.
 *
 * I1 Whatever a commit has written is told, by key or by keyspace.
 */
import type { Intent } from "./Intent.ts"
import type { Watch } from "./Watch.ts"
import type { Window } from "./Window.ts"

/**
 * Tells what was written at `lsn`: keys of some keyspaces, and names of those that a commit in pieces has written to.
 * The latter as a whole, because keys that were read are known by their hashes alone: of them, nothing can be compared
 * with the bounds of a piece.
 */
export const remember = (
  { watch, window }: { readonly watch: Watch; readonly window: Window },
  lsn: number,
  intent: Intent,
  inPieces: Iterable<string> = []
): void => {
  const all = (space: number): void => {
    window.writeAll(space, lsn)
    watch.writtenAll(space)
  }
  for (const name of inPieces) all(window.spaceOf(name))
  for (const keyspace of intent.keyspaces()) {
    const space = window.spaceOf(keyspace.name)
    if (keyspace.cleared || keyspace.dropped) all(space)
    for (const { key } of keyspace.writes()) {
      if (intent.unseen === undefined) window.write(space, key, lsn)
      watch.written(space, key)
    }
  }
}
