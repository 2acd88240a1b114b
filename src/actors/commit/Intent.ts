/**
 * What a transaction asks to have committed, and how it becomes a record of the log.
 *
 * Keyspaces have names here and numbers in the log: the first write to a name makes the keyspace in the same record.
 * The names are known as of the tail, because the Tree may be behind.
 *
 * I1 A record is appended whole or not at all: nothing is encoded before every keyspace's layout was compared.
 */
import type { AnySpan } from "effect/Tracer"
import type { Durability } from "../../Limits.ts"
import type { PackedPuts } from "../../log/PackedPuts.ts"
import { encodeDefinition } from "../../log/RecordForm.ts"
import type { RecordWriter } from "../../log/RecordWriter.ts"
import { LayoutMismatch, storeError, Unindexed } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import { Guarded, isOfIndexes } from "./Guarded.ts"
import type { ReadSet } from "./ReadSet.ts"
import type { SerialUse } from "./Sessions.ts"
import type { Turn } from "./Turns.ts"

/** What an intent says of one keyspace. Later writes to a key replace earlier ones, so each key occurs once. */
export interface KeyspaceIntent {
  readonly name: string
  readonly layout: string
  readonly reducer?: number | undefined
  readonly cleared: boolean
  readonly dropped: boolean
  /** The same transaction has what these writes change in the keyspace's indexes. */
  readonly keepsIndexes?: boolean | undefined
  readonly writes: () => Iterable<KeyIntent>
  /** The same writes, where they are puts and have the form of a record already. */
  readonly packed?: PackedPuts | undefined
}

/** One write: `value` is an operand where there is a reducer, and absent where the key is removed. */
export interface KeyIntent {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
  readonly reducer?: number | undefined
  /** Milliseconds since 1970 from which on the record is hidden. */
  readonly expiry?: number | undefined
}

/** A transaction that asks to be committed. */
export interface Intent {
  readonly keyspaces: () => ReadonlyArray<KeyspaceIntent>
  readonly durability: Durability
  /** Refused (answered `undefined`) if any of it was written since; absent where nothing was read. */
  readonly reads?: ReadSet | undefined
  /** The exclusive turn that it is made in, and ends. */
  readonly turn?: Turn | undefined
  /** It removes only what readers do not see any more, so that nobody can lose to it. */
  readonly unseen?: true
  /** Told that it was validated, whatever came of it: nobody asks any more what was committed since its snapshot. */
  readonly validated?: () => void
  /** The serial that it consumes, where it is of a session; it is a record then even if it writes nothing. */
  readonly session?: SerialUse | undefined
  /** Told the LSN as soon as the record is appended. */
  readonly appended?: (lsn: number) => void
  /** The transaction's span, where it has one. */
  readonly span?: AnySpan | undefined
}

/** Writes one write to keyspace `id`; answers the bytes of its key and value. */
export const encodeWrite = (
  writer: RecordWriter,
  id: number,
  { expiry, key, reducer, value }: KeyIntent
): number => {
  if (value === undefined) writer.remove(id, key)
  else if (expiry !== undefined) writer.putExpiring(id, key, value, expiry)
  else if (reducer === undefined) writer.put(id, key, value)
  else writer.merge(id, reducer, key, value)
  return key.length + (value?.length ?? 0)
}

/** The keyspaces that there are at the end of the log. */
export class Names {
  /** Bytes of the keys and values that were written into records. */
  encodedBytes = 0
  readonly guarded = new Guarded()
  private readonly known: Map<string, { readonly id: number; readonly layout: string }>
  private nextId: number

  constructor(known: Map<string, { readonly id: number; readonly layout: string }>, nextId: number) {
    this.known = known
    this.nextId = nextId
  }

  find(name: string): { readonly id: number; readonly layout: string } | undefined {
    return this.known.get(name)
  }

  /** A number for a keyspace that may never come to be. */
  reserve(): number {
    return this.nextId++
  }

  /** What the end of the log says of a name has become something else. */
  become(name: string, known: { readonly id: number; readonly layout: string } | undefined): void {
    if (known === undefined) this.known.delete(name)
    else this.known.set(name, known)
  }

  /** Why an intent cannot be encoded: a keyspace with another layout, or with indexes that it does not keep. */
  mismatch(intent: Intent): StoreError | undefined {
    for (const keyspace of intent.keyspaces()) {
      const refusal = this.refusal(keyspace, this.known.get(keyspace.name))
      if (refusal !== undefined) return refusal
    }
    return undefined
  }

  /** The same for one keyspace, of which this is known. */
  refusal(
    { dropped, keepsIndexes, layout, name }: KeyspaceIntent,
    known: { readonly layout: string } | undefined
  ): StoreError | undefined {
    if (keepsIndexes !== true && this.guarded.has(name)) return storeError(new Unindexed({ keyspace: name }))
    if (known === undefined || known.layout === layout) return undefined
    if (dropped && !isOfIndexes(known.layout)) return undefined
    return storeError(new LayoutMismatch({ keyspace: name, stored: known.layout, declared: layout }))
  }

  /** Writes an intent into the record that has begun; answers the number of its writes. */
  encode(writer: RecordWriter, intent: Intent): number {
    let writes = 0
    for (const keyspace of intent.keyspaces()) {
      this.guarded.note(keyspace)
      writes += this.encodeRemoval(writer, keyspace)
      let id = this.known.get(keyspace.name)?.id
      if (keyspace.packed !== undefined) {
        writes += this.encodePacked(writer, keyspace, keyspace.packed, id)
        continue
      }
      for (const write of keyspace.writes()) {
        if (id === undefined) {
          // Nothing is there to be removed from.
          if (write.value === undefined) continue
          id = this.create(writer, keyspace)
          writes++
        }
        this.encodedBytes += encodeWrite(writer, id, write)
        writes++
      }
    }
    return writes
  }

  private encodePacked(
    writer: RecordWriter,
    keyspace: KeyspaceIntent,
    packed: PackedPuts,
    known: number | undefined
  ): number {
    if (packed.count === 0) return 0
    writer.packed(known ?? this.create(writer, keyspace), packed)
    this.encodedBytes += packed.payloadBytes
    return known === undefined ? packed.count + 1 : packed.count
  }

  private encodeRemoval(writer: RecordWriter, { cleared, dropped, name }: KeyspaceIntent): number {
    const known = this.known.get(name)
    if (known === undefined || !(cleared || dropped)) return 0
    if (dropped) {
      writer.dropKeyspace(known.id)
      this.known.delete(name)
    } else {
      writer.clear(known.id)
    }
    return 1
  }

  private create(writer: RecordWriter, { layout, name, reducer = 0 }: KeyspaceIntent): number {
    const id = this.nextId++
    this.known.set(name, { id, layout })
    writer.createKeyspace(id, Buffer.from(name), encodeDefinition({ codecVersion: 0, reducer, layout }))
    return id
  }
}
