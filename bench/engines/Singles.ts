/**
 * A session made of an engine's single calls: the loops that all engines without loops of their own share.
 *
 * Writes that wait for no disk are gathered until the event loop turns, every thousand requests, and then given to
 * the engine as one batch: the cheapest form that these engines have, and what lmdb does by itself.
 */
import { KeyGroup } from "../workloads/Records.ts"
import type { Records } from "../workloads/Records.ts"
import type { Answer, Direction, Mix, Picks, Session, Writing } from "./Engine.ts"
import { Kind, nothingSeen, see, turn } from "./Engine.ts"

/** Calls of one record or one batch. What may be a promise is awaited only where it is one. */
export interface Singles {
  readonly options: Readonly<Record<string, unknown>>
  /** Whether an error says no more than that a call is to be made again after a turn. */
  readonly isRefusal?: (error: unknown) => boolean
  /** Bytes that the next call may overwrite. */
  readonly get: (key: Buffer) => Uint8Array | undefined
  readonly getFresh: (key: Buffer) => Uint8Array | undefined
  readonly getMany: (keys: Array<Buffer>, answer: Answer) => void | Promise<void>
  /** Records in order, from a key on, or from the end where there is none. */
  readonly range?: (
    from: Buffer | undefined,
    length: number,
    direction: Direction,
    answer: Answer
  ) => void | Promise<void>
  /** Takes one write, or not before a turn; `flush` hands over what was taken. The key is overwritten after the call. */
  readonly put: (key: Buffer, value: Buffer) => boolean
  readonly flush: () => void | Promise<void>
  /** Waits until everything that was handed over is visible. */
  readonly settle?: () => Promise<void>
  /** A durable commit of its own. */
  readonly commit?: (key: Buffer, value: Buffer) => void | Promise<void>
  /** Whether commits that wait at once are given to the engine at once; without, more than one writer is no case. */
  readonly concurrent?: boolean
  readonly commitMany?: (keys: Array<Buffer>, values: Array<Buffer>) => void | Promise<void>
  readonly close: () => Promise<void>
}

/** Requests between two turns of the event loop. */
const turnRequests = 1_000
const manyKeys = 100

/** All of it at once, unless the engine refuses: then the rest after turns. */
const loop = (singles: Singles, get: Singles["get"]) => ({ from, indices, records, to }: Picks) => {
  const answer = nothingSeen()
  let place = from
  const rest = async (refusal: unknown): Promise<Answer> => {
    if (singles.isRefusal?.(refusal) !== true) throw refusal
    await turn()
    return run()
  }
  const run = (): Answer | Promise<Answer> => {
    try {
      for (; place < to; place++) {
        const value = get(records.key(indices[place] as number))
        if (value !== undefined) see(answer, value)
      }
      return answer
    } catch (error) {
      return rest(error)
    }
  }
  return run()
}

const many = ({ getMany }: Singles) => {
  const group = new KeyGroup(manyKeys)
  return async ({ from, indices, records, to }: Picks): Promise<Answer> => {
    const answer = nothingSeen()
    for (let place = from; place + manyKeys <= to; place += manyKeys) {
      const done = getMany(group.fill(records, indices, place), answer)
      if (done !== undefined) await done
    }
    return answer
  }
}

const ranges = (range: NonNullable<Singles["range"]>) =>
async (
  { from, indices, records, to }: Picks,
  length: number,
  direction: Direction
): Promise<Answer> => {
  const answer = nothingSeen()
  for (let place = from; place < to; place++) {
    const done = range(records.key(indices[place] as number), length, direction, answer)
    if (done !== undefined) await done
  }
  return answer
}

const load =
  ({ flush, put, settle }: Singles) =>
  async (records: Records, from: number, to: number, batch: number): Promise<void> => {
    for (let first = from; first < to; first += batch) {
      const end = Math.min(to, first + batch)
      for (let index = first; index < end; index++) {
        while (!put(records.key(index), records.value(index, 0))) await turn()
      }
      const done = flush()
      if (done !== undefined) await done
    }
    await settle?.()
  }

/** Asks again until it is answered. */
const patiently = async ({ get, isRefusal }: Singles, key: Buffer, refusal: unknown) => {
  if (isRefusal?.(refusal) !== true) throw refusal
  for (;;) {
    await turn()
    try {
      return get(key)
    } catch (error) {
      if (isRefusal(error) !== true) throw error
    }
  }
}

const mixed = (singles: Singles) => async (mix: Mix): Promise<Answer> => {
  const { from, indices, kinds, lengths, records, to, version } = mix
  const { flush, get, put, range, settle } = singles
  const answer = nothingSeen()
  for (let first = from; first < to; first += turnRequests) {
    const end = Math.min(to, first + turnRequests)
    for (let place = first; place < end; place++) {
      const index = indices[place] as number
      const key = records.key(index)
      const kind = kinds[place]
      if (kind === Kind.scan) {
        const done = range?.(key, lengths[place] as number, "ascending", answer)
        if (done !== undefined) await done
        continue
      }
      if (kind === Kind.read || kind === Kind.modify) {
        let value: Uint8Array | undefined
        try {
          value = get(key)
        } catch (error) {
          value = await patiently(singles, key, error)
        }
        if (value !== undefined) see(answer, value)
      }
      if (kind === Kind.read) continue
      const value = records.value(index, version + place)
      while (!put(key, value)) await turn()
    }
    const done = flush()
    if (done !== undefined) await done
    await turn()
  }
  await settle?.()
  return answer
}

/** So many loops, each of which awaits its own commit. */
export const writersOf =
  (commit: (key: Buffer, value: Buffer) => void | Promise<void>) =>
  async ({ acknowledged, records, take, version, writers }: Writing): Promise<void> => {
    const writer = async (): Promise<void> => {
      for (let index = take(); index >= 0; index = take()) {
        const begun = performance.now()
        const done = commit(records.keyCopy(index), records.value(index, version))
        if (done !== undefined) await done
        acknowledged(begun)
      }
    }
    await Promise.all(Array.from({ length: writers }, writer))
  }

/** Group commit in the application: who comes while a batch is under way is in the next. */
export const gathered = (
  commitMany: (keys: Array<Buffer>, values: Array<Buffer>) => void | Promise<void>
): (key: Buffer, value: Buffer) => Promise<void> => {
  let keys: Array<Buffer> = []
  let values: Array<Buffer> = []
  let waiting: Array<() => void> = []
  let flushing = false
  const flush = async (): Promise<void> => {
    while (keys.length > 0) {
      const answered = waiting
      const done = commitMany(keys, values)
      keys = []
      values = []
      waiting = []
      if (done !== undefined) await done
      for (const answer of answered) answer()
      // Those who were answered ask again before the next batch is taken.
      await turn()
    }
    flushing = false
  }
  return (key, value) => {
    keys.push(key)
    values.push(value)
    if (!flushing) {
      flushing = true
      setImmediate(() => void flush())
    }
    return new Promise((resolve) => waiting.push(resolve))
  }
}

/** Doors of an engine that has single calls. */
export const session = (singles: Singles): Session => {
  const { close, commit, commitMany, concurrent, options, range, settle } = singles
  return {
    options,
    gets: loop(singles, singles.get),
    getsFresh: loop(singles, singles.getFresh),
    getsMany: many(singles),
    load: load(singles),
    mix: mixed(singles),
    ...range === undefined ? {} : {
      ranges: ranges(range),
      scan: async (direction: Direction) => {
        const answer = nothingSeen()
        await range(undefined, Infinity, direction, answer)
        return answer
      }
    },
    ...commit === undefined ? {} : {
      write: async (writing: Writing) => {
        if (writing.writers > 1 && concurrent !== true) return
        await writersOf(commit)(writing)
      }
    },
    ...commitMany === undefined
      ? {}
      : { writeGathered: (writing: Writing) => writersOf(gathered(commitMany))(writing) },
    ...settle === undefined ? {} : { settle },
    close
  }
}
