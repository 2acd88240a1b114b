/**
 * The guarded keyspaces: those whose indexes must be kept by whoever writes them.
 *
 * A keyspace of the engine's own, `states`, has one record for each keyspace with indexes. Every commit passes through
 * the Wal, so here is known, as of the tail, which these are; and a write that does not keep them is refused, whoever
 * makes it: another declaration of the keyspace, an older program, a raw door.
 *
 * I1 A keyspace is guarded exactly while `states` has a record of its name.
 *
 * Rejected: a look at `states` by every writer, which would give blind writes something to read and to conflict on.
 */
import type { Declared } from "./Declared.ts"

/**
 * Layouts of the keyspaces that indexes are made of begin like this. No declared keyspace has such a layout (`Form.ts`
 * begins them with the fingerprint of a key), so nothing but an index writes, clears or drops what has one.
 */
const ofIndexes = "index "
export const isOfIndexes = (layout: string): boolean => layout.startsWith(ofIndexes)
export const layoutOfIndexes = (what: string): string => `${ofIndexes}${what}`

/** Name of a keyspace → which indexes it has (`indexes/States.ts`). */
export const states: Declared = { name: "heartwood/indexes", layout: layoutOfIndexes("states") }

/** As much of an intent as matters here. */
interface Writes {
  readonly name: string
  readonly writes: () => Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array | undefined }>
}

export class Guarded {
  private readonly names = new Set<string>()

  has(name: string): boolean {
    return this.names.size > 0 && this.names.has(name)
  }

  /** Takes note of a record that is there when the store opens. */
  add(key: Uint8Array): void {
    this.names.add(text(key))
  }

  /** Takes note of what is about to be committed. */
  note(keyspace: Writes): void {
    if (keyspace.name !== states.name) return
    for (const { key, value } of keyspace.writes()) {
      if (value === undefined) this.names.delete(text(key))
      else this.names.add(text(key))
    }
  }
}

const text = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString()
