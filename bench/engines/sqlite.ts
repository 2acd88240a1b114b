/**
 * SQLite through node:sqlite: one table without row ids, a write-ahead log, prepared statements, rows as arrays.
 *
 * It has one connection, so a commit holds the calling thread and independent writers cannot meet in one sync.
 */
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Engine, OpenOptions, Session } from "./Engine.ts"
import { see } from "./Engine.ts"
import { session } from "./Singles.ts"

const settings = (
  durability: OpenOptions["durability"],
  memoryBytes: number,
  logBytes: number | undefined
) => ({
  journal_mode: "WAL",
  synchronous: durability === "synced" ? "FULL" : "OFF",
  cache_size: -Math.floor(memoryBytes / 1_024),
  mmap_size: memoryBytes,
  temp_store: "MEMORY",
  ...logBytes === undefined ? {} : { wal_autocheckpoint: 0 }
})

/** A column of a row that is an array. */
const column = (row: unknown, at: number): Uint8Array | undefined =>
  (row as Array<Uint8Array> | undefined)?.[at]

export const sqlite: Engine = {
  name: "node:sqlite",
  rank: "peer",
  version: () => process.versions["sqlite"] ?? "unknown",
  open: async ({ directory, durability, logBytes, memoryBytes, more }: OpenOptions): Promise<Session> => {
    const db = new DatabaseSync(join(directory, "sqlite.db"))
    const options = { ...settings(durability, memoryBytes, logBytes), ...more }
    for (const [name, value] of Object.entries(options)) db.exec(`PRAGMA ${name} = ${value}`)
    db.exec("CREATE TABLE IF NOT EXISTS t (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")
    const prepared = (sql: string) => {
      const statement = db.prepare(sql)
      statement.setReturnArrays(true)
      return statement
    }
    const select = prepared("SELECT v FROM t WHERE k = ?")
    const insert = db.prepare("INSERT INTO t VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v")
    const ascending = prepared("SELECT k, v FROM t WHERE k >= ? ORDER BY k LIMIT ?")
    const descending = prepared("SELECT k, v FROM t WHERE k <= ? ORDER BY k DESC LIMIT ?")
    const highest = Buffer.alloc(17, 255)
    const lowest = Buffer.alloc(0)
    let open = false
    const begin = () => {
      if (!open) db.exec("BEGIN")
      open = true
    }
    const flush = () => {
      if (open) db.exec("COMMIT")
      open = false
    }
    const get = (key: Buffer) => column(select.get(key), 0)
    return session({
      options,
      get,
      getFresh: get,
      getMany: (keys, answer) => {
        begin()
        for (const key of keys) {
          const value = get(key)
          if (value !== undefined) see(answer, value)
        }
        flush()
      },
      range: (from, length, direction, answer) => {
        const statement = direction === "ascending" ? ascending : descending
        const bound = from ?? (direction === "ascending" ? lowest : highest)
        if (length !== Infinity) {
          for (const row of statement.all(bound, length)) see(answer, column(row, 1) as Uint8Array)
          return
        }
        for (const row of statement.iterate(bound, -1)) see(answer, column(row, 1) as Uint8Array)
      },
      put: (key, value) => {
        begin()
        insert.run(key, value)
        return true
      },
      flush,
      commit: (key, value) => void insert.run(key, value),
      commitMany: (keys, values) => {
        begin()
        for (const [place, key] of keys.entries()) insert.run(key, values[place] as Buffer)
        flush()
      },
      close: async () => db.close()
    })
  }
}
