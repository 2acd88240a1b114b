/**
 * RocksDB through @nxtedition/rocksdb, by its synchronous calls: a hop to another thread costs more than it saves.
 *
 * Gets take the bytes where they are (`unsafe`). A durable commit holds the calling thread, so independent writers
 * cannot meet in one sync: only writers that the application gathers are measured.
 */
import { RocksLevel } from "@nxtedition/rocksdb"
import type { Answer, Engine, OpenOptions, Session } from "../Engine.ts"
import { see } from "../Engine.ts"
import { session } from "../Singles.ts"
import { versionOf } from "./installed.ts"

/** What is used of it: the package has no types. */
interface Rocks {
  open(options: object): Promise<void>
  batch(): Batch
  _getManySync(keys: Array<Buffer>, options: object): Array<Buffer | undefined>
  _iterator(options: object): RocksIterator
  querySync(options: object): { readonly rows: Array<Buffer> }
  close(): Promise<void>
}
interface Batch {
  _put(key: Buffer, value: Buffer): void
  _writeSync(options: object): void
  _closeSync(): void
}
interface RocksIterator {
  _nextvSync(size: number): { readonly rows: Array<Buffer>; readonly finished: boolean }
  _closeSync(): void
}

const nextEntries = 1_000
const unsafe = { unsafe: true, valueEncoding: "buffer" }
const copied = { valueEncoding: "buffer" }

const seeRows = (answer: Answer, rows: Array<Buffer>): void => {
  for (let at = 1; at < rows.length; at += 2) see(answer, rows[at] as Buffer)
}

export const rocksdb: Engine = {
  name: "rocksdb",
  rank: "peer",
  version: () => versionOf("@nxtedition/rocksdb"),
  open: async ({ directory, logBytes, memoryBytes, more }: OpenOptions): Promise<Session> => {
    const options = {
      createIfMissing: true,
      compression: false,
      walCompression: false,
      compaction: "level",
      optimize: "point-lookup",
      parallelism: 2,
      cacheSize: Math.min(memoryBytes, 2 ** 31),
      // Write buffers have a quarter of it each.
      memtableMemoryBudget: Math.max(
        16 * 2 ** 20,
        Math.min(256 * 2 ** 20, memoryBytes / 2),
        8 * (logBytes ?? 0)
      ),
      ...more
    }
    const db = new RocksLevel(directory, { keyEncoding: "buffer", valueEncoding: "buffer" }) as Rocks
    await db.open(options)
    const rows = { keys: true, values: true, keyEncoding: "buffer", valueEncoding: "buffer" }
    const one: Array<Buffer> = []
    const getOne = (options: object) => (key: Buffer): Buffer | undefined => {
      one[0] = key
      return db._getManySync(one, options)[0]
    }
    const write = (batch: Batch, sync: boolean): void => {
      batch._writeSync({ sync })
      batch._closeSync()
    }
    let open: Batch | undefined
    return session({
      options,
      get: getOne(unsafe),
      getFresh: getOne(copied),
      getMany: (keys, answer) => {
        for (const value of db._getManySync(keys, unsafe)) if (value !== undefined) see(answer, value)
      },
      range: (from, length, direction, answer) => {
        const reverse = direction === "descending"
        const bounds = {
          ...rows,
          reverse,
          ...from === undefined ? {} : reverse ? { lte: from } : { gte: from }
        }
        if (length !== Infinity) return seeRows(answer, db.querySync({ ...bounds, limit: length }).rows)
        const iterator = db._iterator({ ...bounds, limit: -1, highWaterMarkBytes: 1 << 20 })
        for (;;) {
          const next = iterator._nextvSync(nextEntries)
          seeRows(answer, next.rows)
          if (next.finished || next.rows.length === 0) break
        }
        iterator._closeSync()
      },
      put: (key, value) => {
        open ??= db.batch()
        open._put(key, value)
        return true
      },
      flush: () => {
        if (open !== undefined) write(open, false)
        open = undefined
      },
      commit: (key, value) => {
        const batch = db.batch()
        batch._put(key, value)
        write(batch, true)
      },
      commitMany: (keys, values) => {
        const batch = db.batch()
        for (const [place, key] of keys.entries()) batch._put(key, values[place] as Buffer)
        write(batch, true)
      },
      close: () => db.close()
    })
  }
}
