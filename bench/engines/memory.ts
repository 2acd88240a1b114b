/**
 * Structures in memory, for reference: a `Map` for points, and sorted chunks of keys for order. Nothing survives.
 *
 * They show what JavaScript costs without an engine, and are never a goal.
 */
import type { Answer, Direction, Engine, Session } from "./Engine.ts"
import { see } from "./Engine.ts"
import { session } from "./Singles.ts"

/** Keys of a chunk before it is cut in two: small enough to insert into, large enough to scan. */
const chunkKeys = 512

/** Keys in ascending order. */
class SortedKeys {
  private readonly chunks: Array<Array<string>> = [[]]

  add(key: string): void {
    const at = this.chunkOf(key)
    const chunk = this.chunks[at] as Array<string>
    const place = lowerBound(chunk, key)
    if (place === chunk.length) chunk.push(key)
    else chunk.splice(place, 0, key)
    if (chunk.length >= chunkKeys) this.chunks.splice(at + 1, 0, chunk.splice(chunkKeys / 2))
  }

  *from(key: string | undefined, direction: Direction): Generator<string> {
    const { chunks } = this
    if (direction === "ascending") {
      const first = key === undefined ? 0 : this.chunkOf(key)
      for (let at = first; at < chunks.length; at++) {
        const chunk = chunks[at] as Array<string>
        const begin = at === first && key !== undefined ? lowerBound(chunk, key) : 0
        for (let place = begin; place < chunk.length; place++) yield chunk[place] as string
      }
      return
    }
    const first = key === undefined ? chunks.length - 1 : this.chunkOf(key)
    for (let at = first; at >= 0; at--) {
      const chunk = chunks[at] as Array<string>
      let begin = chunk.length - 1
      if (at === first && key !== undefined) {
        const bound = lowerBound(chunk, key)
        begin = chunk[bound] === key ? bound : bound - 1
      }
      for (let place = begin; place >= 0; place--) yield chunk[place] as string
    }
  }

  /** The last chunk whose first key is not above. */
  private chunkOf(key: string): number {
    const { chunks } = this
    let low = 0
    let high = chunks.length - 1
    while (low < high) {
      const middle = low + high + 1 >>> 1
      if ((chunks[middle]?.[0] as string) <= key) low = middle
      else high = middle - 1
    }
    return low
  }
}

const lowerBound = (keys: ReadonlyArray<string>, key: string): number => {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = low + high >>> 1
    if ((keys[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}

export const memory: Engine = {
  name: "js-map",
  rank: "reference",
  version: () => process.versions.v8,
  open: async (): Promise<Session> => {
    const values = new Map<string, Buffer>()
    const keys = new SortedKeys()
    // Latin-1 text sorts as its bytes do.
    const get = (key: Buffer): Buffer | undefined => values.get(key.toString("latin1"))
    const put = (key: Buffer, value: Buffer): boolean => {
      const text = key.toString("latin1")
      const before = values.size
      values.set(text, value)
      if (values.size > before) keys.add(text)
      return true
    }
    return session({
      options: {},
      get,
      getFresh: (key) => {
        const value = get(key)
        return value === undefined ? undefined : Buffer.from(value)
      },
      getMany: (group, answer: Answer) => {
        for (const key of group) {
          const value = get(key)
          if (value !== undefined) see(answer, value)
        }
      },
      range: (from, length, direction, answer) => {
        let left = length
        for (const key of keys.from(from?.toString("latin1"), direction)) {
          if (left-- <= 0) break
          see(answer, values.get(key) as Buffer)
        }
      },
      put,
      flush: () => {},
      close: async () => {}
    })
  }
}
