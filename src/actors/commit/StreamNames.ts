/**
 * The keyspaces that one stream writes to, and how its writes are encoded.
 *
 * A piece names keyspaces by number long before it is known whether it counts. So a stream notes what the end of the
 * log said of each name when it first used it, keeps what it changes of that to itself, and makes it known with its
 * commit; where the log has come to say something else meanwhile, the stream has lost.
 *
 * I1 A number that a stream has taken for a new keyspace is given to nobody else, whatever becomes of the stream.
 */
import { encodeDefinition } from "../../log/RecordForm.ts"
import type { RecordWriter } from "../../log/RecordWriter.ts"
import { storeError, Unindexed } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import { states } from "./Guarded.ts"
import type { KeyIntent, KeyspaceIntent, Names } from "./Intent.ts"
import { encodeWrite } from "./Intent.ts"

/** A keyspace that is there. */
interface Known {
  readonly id: number
  readonly layout: string
}

/** A name that a piece has changed, and what it was before. */
interface Change {
  readonly piece: number
  readonly name: string
  readonly before: Known | undefined
}

export class StreamNames {
  /** Numbers that the log had for these names when they were first used; undefined where there was no keyspace. */
  private readonly expected = new Map<string, number | undefined>()
  private readonly current = new Map<string, Known | undefined>()
  private readonly changes: Array<Change> = []
  /** Keyspaces that were written to without keeping indexes, and what was said of those that have some. */
  private readonly bare = new Set<string>()
  private states: Array<{ readonly piece: number; readonly write: KeyIntent }> = []

  /** Names that the stream has used. */
  get used(): Iterable<string> {
    return this.expected.keys()
  }

  /** The number of a keyspace, as the stream sees it. */
  idOf(name: string): number | undefined {
    return this.current.get(name)?.id
  }

  /** Why a piece cannot be encoded. */
  mismatch(names: Names, keyspaces: ReadonlyArray<KeyspaceIntent>): StoreError | undefined {
    for (const keyspace of keyspaces) {
      const { name } = keyspace
      const refusal = names.refusal(
        keyspace,
        this.current.has(name) ? this.current.get(name) : names.find(name)
      )
      if (refusal !== undefined) return refusal
    }
    return undefined
  }

  /** Writes what is said of some keyspaces into piece number `piece`, which has begun. */
  encode(
    writer: RecordWriter,
    names: Names,
    piece: number,
    keyspaces: ReadonlyArray<KeyspaceIntent>
  ): void {
    for (const keyspace of keyspaces) {
      const { cleared, dropped, layout, name, reducer = 0 } = keyspace
      if (!this.expected.has(name)) {
        this.expected.set(name, names.find(name)?.id)
        this.current.set(name, names.find(name))
      }
      const before = this.current.get(name)
      if (before !== undefined && dropped) {
        writer.dropKeyspace(before.id)
        this.change(piece, name, undefined)
      } else if (before !== undefined && cleared) writer.clear(before.id)
      if (keyspace.keepsIndexes !== true) this.bare.add(name)
      for (const write of keyspace.writes()) {
        if (name === states.name) this.states.push({ piece, write })
        let id = this.idOf(name)
        if (id === undefined) {
          // Nothing is there to be removed from.
          if (write.value === undefined) continue
          id = names.reserve()
          this.change(piece, name, { id, layout })
          writer.createKeyspace(id, Buffer.from(name), encodeDefinition({ codecVersion: 0, reducer, layout }))
        }
        names.encodedBytes += encodeWrite(writer, id, write)
      }
    }
  }

  /** The pieces from number `piece` on are as if they had not been written. */
  discard(piece: number): void {
    this.states = this.states.filter((state) => state.piece < piece)
    for (
      let last = this.changes.at(-1);
      last !== undefined && last.piece >= piece;
      last = this.changes.at(-1)
    ) {
      this.current.set(last.name, last.before)
      this.changes.pop()
    }
  }

  /** Whether the log has come to say something else of a name than it did when the stream first used it. */
  isStale(names: Names): boolean {
    for (const [name, id] of this.expected) if (names.find(name)?.id !== id) return true
    return false
  }

  /** Why the stream cannot be committed: a keyspace has got indexes that it does not keep. */
  unindexed(names: Names): StoreError | undefined {
    for (const name of this.bare) {
      if (names.guarded.has(name)) return storeError(new Unindexed({ keyspace: name }))
    }
    return undefined
  }

  /** The stream is committed. */
  publish(names: Names): void {
    names.guarded.note({ name: states.name, writes: () => this.states.map(({ write }) => write) })
    for (const { name } of this.changes) names.become(name, this.current.get(name))
  }

  private change(piece: number, name: string, known: Known | undefined): void {
    this.changes.push({ piece, name, before: this.current.get(name) })
    this.current.set(name, known)
  }
}
