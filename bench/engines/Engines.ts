/**
 * All engines by name, each loaded only in the process that runs it: a peer that is not installed is no error elsewhere.
 */
import type { Engine } from "./Engine.ts"

/** File and name of what it exports. */
const files: Readonly<Record<string, readonly [file: string, name: string]>> = {
  heartwood: ["heartwood.ts", "heartwood"],
  "heartwood-each": ["heartwood.ts", "each"],
  "heartwood-effect": ["heartwoodEffect.ts", "heartwoodEffect"],
  "heartwood-caller": ["heartwood.ts", "caller"],
  "heartwood-effect-caller": ["heartwoodEffect.ts", "caller"],
  lmdb: ["peers/lmdb.ts", "lmdb"],
  "lmdb-writemap": ["peers/lmdb.ts", "writemap"],
  "lmdb-no-overlap": ["peers/lmdb.ts", "waiting"],
  "classic-level": ["peers/classicLevel.ts", "classicLevel"],
  rocksdb: ["peers/rocksdb.ts", "rocksdb"],
  "node:sqlite": ["sqlite.ts", "sqlite"],
  "js-map": ["memory.ts", "memory"],
  disk: ["disk.ts", "disk"]
}

export const names: ReadonlyArray<string> = Object.keys(files)

export const load = async (name: string): Promise<Engine> => {
  const found = files[name]
  if (found === undefined) throw new RangeError(`${name} is no engine: name one of ${names.join(", ")}`)
  const [file, exported] = found
  const module = await import(new URL(file, import.meta.url).href) as Readonly<Record<string, Engine>>
  const engine = module[exported]
  if (engine === undefined) throw new Error(`${file} has no ${exported}`)
  return engine
}
