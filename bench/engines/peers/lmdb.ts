/**
 * lmdb-js at its best: keys and values as bytes, no versions, no compression, values read from its shared buffer.
 *
 * `getMany` of lmdb goes through another thread and costs more than a hundred gets, which is what is measured instead.
 */
import { open } from "lmdb"
import type { Engine, OpenOptions, Session } from "../Engine.ts"
import { see, turn } from "../Engine.ts"
import { session } from "../Singles.ts"
import { versionOf } from "./installed.ts"

interface Variant {
  readonly useWritemap?: boolean
  readonly overlappingSync?: boolean
}

/** Puts that may be waiting for a commit; beyond, the bench waits as any program must. */
const unawaited = 20_000

const make = (name: string, variant: Variant): Engine => ({
  name,
  rank: "peer",
  version: () => versionOf("lmdb"),
  open: async ({ directory, durability, more }: OpenOptions): Promise<Session> => {
    const options = {
      path: directory,
      keyEncoding: "binary",
      encoding: "binary",
      compression: false,
      useVersions: false,
      mapSize: 64 * 2 ** 30,
      noSync: durability === "none",
      ...variant,
      ...more
    } as const
    const db = open<Buffer, Buffer>(options)
    let last: Promise<unknown> | undefined
    let earlier: Promise<unknown> | undefined
    let since = 0
    // A put has answered when it is visible; `flushed`, asked for then, when all that was put so far is synced.
    const commit = async (key: Buffer, value: Buffer): Promise<void> => {
      const put = db.put(key, value)
      await (variant.overlappingSync === false ? put : db.flushed)
    }
    return session({
      options,
      get: (key) => db.getBinaryFast(key),
      getFresh: (key) => db.getBinary(key),
      getMany: (keys, answer) => {
        for (const key of keys) {
          const value = db.getBinaryFast(key)
          if (value !== undefined) see(answer, value)
        }
      },
      range: (from, length, direction, answer) => {
        const bounds = {
          ...from === undefined ? {} : { start: from },
          ...length === Infinity ? {} : { limit: length },
          reverse: direction === "descending",
          snapshot: false
        }
        for (const { value } of db.getRange(bounds)) see(answer, value)
      },
      put: (key, value) => {
        last = db.put(key, value)
        since++
        return true
      },
      // Its own thread commits what a turn of the event loop has gathered, while the next turn gathers more.
      flush: async () => {
        if (since < unawaited) return turn()
        const before = earlier
        earlier = last
        since = 0
        await before
      },
      settle: async () => {
        await last
      },
      commit,
      concurrent: true,
      commitMany: async (keys, values) => {
        let put: Promise<unknown> | undefined
        for (const [place, key] of keys.entries()) put = db.put(key, values[place] as Buffer)
        await (variant.overlappingSync === false ? put : db.flushed)
      },
      close: () => db.close()
    })
  }
})

export const lmdb = make("lmdb", {})
export const writemap = make("lmdb-writemap", { useWritemap: true })
export const waiting = make("lmdb-no-overlap", { overlappingSync: false })
