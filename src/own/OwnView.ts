/**
 * The own writes of a body, wherever they are: in memory, or beyond it in the log.
 *
 * I1 What is said of a key is what its body said last, whichever of its fibers did.
 */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { RangeRead } from "../actors/commit/ReadSet.ts"
import type { OwnWrites } from "../Overlay.ts"
import { after } from "../Overlay.ts"
import type { Range } from "../Row.ts"
import type { StoreError } from "../StoreError.ts"
import type { KeyspaceWrites, Write, WriteSet } from "../WriteSet.ts"
import type { Own } from "./Reader.ts"
import type { Streamed } from "./Streamed.ts"

/** The body: what it holds in memory, and what is in the log if anything is. */
interface Body {
  readonly writes: WriteSet
  readonly streamed: Streamed | undefined
}

/** Own writes, and whether one that was shown is still what is said of its key. */
export interface Current extends OwnWrites {
  readonly isCurrent: (write: Write) => boolean
}

const noWrite = Exit.succeed({ write: undefined, hides: false })

export class OwnView {
  private readonly body: Body

  constructor(body: Body) {
    this.body = body
  }

  /** Whether something was written to a keyspace that is not in memory any more. */
  hasRuns(name: string): boolean {
    return this.body.streamed?.reader.has(name) === true
  }

  /** What is said of a key below `above`, which is in memory. */
  find(name: string, key: Uint8Array, above: Write | undefined): Effect.Effect<Own, StoreError> {
    return this.body.streamed?.reader.find(name, key, above) ?? noWrite
  }

  /** Asks later whether what is said of a key now is still so. */
  seen(name: string, key: Uint8Array): () => boolean {
    const { body } = this
    const own = body.writes.find(name)
    const write = own?.get(key)
    const cleared = own?.cleared === true
    const generation = body.streamed?.generation
    return () => {
      const now = body.writes.find(name)
      return now?.get(key) === write && (now?.cleared === true) === cleared &&
        body.streamed?.generation === generation
    }
  }

  /** The writes to a keyspace, for a scan. */
  of(name: string): Current {
    const { body } = this
    let memory: KeyspaceWrites | undefined
    let generation: number | undefined
    return {
      hides: () => body.writes.find(name)?.cleared === true || body.streamed?.reader.hides(name) === true,
      window: (lower, upper, descending) => {
        memory = body.writes.find(name)
        generation = body.streamed?.generation
        return body.streamed?.reader.has(name) === true
          ? body.streamed.reader.window(name, memory, { lower, upper }, descending)
          : { writes: memory?.range(lower, upper) ?? [], edge: undefined }
      },
      isCurrent: (write) =>
        this.hasRuns(name)
          ? body.writes.find(name) === memory && body.streamed?.generation === generation
          : memory?.get(write.key) === write
    }
  }
}

/** A range has been read up to `key`, which was handed out. */
export const cover = (read: RangeRead, { lower, order, upper }: Range, key: Uint8Array): void => {
  // The key is the reader's, who may change it.
  read.lower = order === "ascending" ? lower : key.slice()
  read.upper = order === "ascending" ? after(key) : upper
}
