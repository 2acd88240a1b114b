/**
 * LevelDB through classic-level: synchronous gets, chained batches, iterators that answer a thousand entries a call.
 */
import { ClassicLevel } from "classic-level"
import type { Engine, OpenOptions, Session } from "../Engine.ts"
import { see } from "../Engine.ts"
import { session } from "../Singles.ts"
import { versionOf } from "./installed.ts"

const nextEntries = 1_000

export const classicLevel: Engine = {
  name: "classic-level",
  rank: "peer",
  version: () => versionOf("classic-level"),
  open: async ({ directory, logBytes, memoryBytes, more }: OpenOptions): Promise<Session> => {
    const options = {
      compression: false,
      // A table is made of a write buffer: large ones make few, and a large share of the memory is theirs.
      writeBufferSize: Math.max(4 * 2 ** 20, Math.min(64 * 2 ** 20, memoryBytes / 4), 2 * (logBytes ?? 0)),
      cacheSize: memoryBytes,
      ...more
    }
    const db = new ClassicLevel<Buffer, Buffer>(directory, {
      keyEncoding: "buffer",
      valueEncoding: "buffer",
      ...options
    })
    await db.open()
    let batch = db.batch()
    const none = {}
    return session({
      options,
      get: (key) => db.getSync(key),
      getFresh: (key) => db.getSync(key),
      getMany: (keys, answer) => {
        for (const key of keys) {
          const value = db.getSync(key)
          if (value !== undefined) see(answer, value)
        }
      },
      range: async (from, length, direction, answer) => {
        const reverse = direction === "descending"
        const bounds = from === undefined ? {} : reverse ? { lte: from } : { gte: from }
        const most = length === Infinity ? -1 : length
        const iterator = db.iterator({ ...bounds, reverse, limit: most, highWaterMarkBytes: 1 << 20 })
        for (;;) {
          const entries = await iterator.nextv(Math.min(length, nextEntries))
          for (const entry of entries) see(answer, entry[1])
          if (entries.length === 0 || length !== Infinity) break
        }
        await iterator.close()
      },
      put: (key, value) => {
        batch.put(key, value, none)
        return true
      },
      flush: async () => {
        if (batch.length === 0) return
        const full = batch
        batch = db.batch()
        await full.write({ sync: false })
      },
      commit: (key, value) => db.put(key, value, { sync: true }),
      concurrent: true,
      commitMany: (keys, values) => {
        const all = db.batch()
        for (const [place, key] of keys.entries()) all.put(key, values[place] as Buffer, none)
        return all.write({ sync: true })
      },
      settle: async () => {},
      close: async () => {
        await batch.close()
        await db.close()
      }
    })
  }
}
