/**
 * The shape of an index: what its declaration says, and what that makes of a record.
 *
 * I1 An index key that a record has twice is one entry.
 */
import * as Exit from "effect/Exit"
import type * as Key from "../Key.ts"
import type { StoreError } from "../StoreError.ts"
import type { Kind } from "./Lane.ts"
import { Lane, layoutOf, nameOf, Parts } from "./Lane.ts"
import type { StoredIndex } from "./States.ts"

/** A record as an index sees it: its version is not known yet when it is written. */
export interface Record<K, V> {
  readonly key: K
  readonly value: V
}

/** How an index is declared. */
export interface Definition<K, V, I> {
  readonly key: Key.Key<I, unknown>
  readonly of: (record: Record<K, V>) => Iterable<I>
  readonly unique?: boolean | undefined
  readonly version?: number | undefined
}

/** The index keys of a record, each once, by their bytes as text. */
export type Entries = ReadonlyMap<string, Uint8Array>

export class Shape<K, V, I> {
  readonly name: string
  readonly version: number
  readonly layout: string
  private readonly of: (record: Record<K, V>) => Iterable<I>
  private readonly kind: Kind<I, K>
  private readonly parts: Parts<I>
  private readonly lanes = new Map<number, Lane<I, K>>()

  constructor(
    keyspace: string,
    index: string,
    recordKey: Key.Key<K, unknown>,
    definition: Definition<K, V, I>
  ) {
    const { key: indexKey, of, unique = false, version = 1 } = definition
    if (!Number.isInteger(version) || version < 1) {
      throw new RangeError(`an index's version is an integer of at least 1, not ${version}`)
    }
    if (!index.isWellFormed() || Buffer.byteLength(nameOf(keyspace, index, 2 ** 31)) > 1024) {
      throw new RangeError("an index's name is well-formed text that has room beside that of its keyspace")
    }
    this.kind = { keyspace, index, indexKey, recordKey, unique }
    this.name = index
    this.version = version
    this.layout = layoutOf(this.kind)
    this.of = of
    this.parts = new Parts({ name: `${keyspace}.${index}`, layout: this.layout }, indexKey)
  }

  /** Whether what is stored was built as this is declared. */
  matches({ layout, name, version }: StoredIndex): boolean {
    return name === this.name && version === this.version && layout === this.layout
  }

  /** What is stored of it, but for its lanes. */
  get stored(): Omit<StoredIndex, "live" | "shadow"> {
    const { layout, name, version } = this
    return { name, version, layout }
  }

  lane(id: number): Lane<I, K> {
    let lane = this.lanes.get(id)
    if (lane === undefined) this.lanes.set(id, lane = new Lane(this.kind, id))
    return lane
  }

  entries(record: Record<K, V>): Entries | Exit.Exit<never, StoreError> {
    const entries = new Map<string, Uint8Array>()
    for (const indexKey of this.of(record)) {
      const bytes = this.parts.part(indexKey)
      if (Exit.isExit(bytes)) return bytes
      entries.set(textOf(bytes), bytes)
    }
    return entries
  }

  /** Whether a record has an index key. */
  says(record: Record<K, V>, indexKey: Uint8Array): boolean {
    const entries = this.entries(record)
    return !Exit.isExit(entries) && entries.has(textOf(indexKey))
  }

  part(indexKey: I): Uint8Array | Exit.Exit<never, StoreError> {
    return this.parts.part(indexKey)
  }
}

export const none: Entries = new Map()

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")
