/**
 * What a page costs through the system's cache and past it.
 *
 * `node bench/systemCache.ts --rounds 7 --directory /var/tmp` reads random pages of a file that the cache holds whole,
 * and writes runs of pages with a sync after each, one way and the other in turn, and prints medians with their
 * range: microseconds per operation. Numbers of one device say little about another.
 */
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import type { DiskFile } from "../src/disk/Disk.ts"
import { Disk } from "../src/disk/Disk.ts"
import * as NodeDisk from "../src/disk/NodeDisk.ts"

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "7" },
    megabytes: { type: "string", default: "256" },
    directory: { type: "string", default: tmpdir() }
  }
})
const pageBytes = 4_096
const pages = Number(flags.megabytes) * (1 << 20) / pageBytes
const operations = 2_000

/** The same pages in every round (a 32-bit mix of murmur3). */
const pageOf = (index: number): number => {
  let mixed = Math.imul(index ^ 0x9e3779b9, 0x85ebca6b)
  mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35)
  return ((mixed ^ mixed >>> 16) >>> 0) % pages
}

const indices = Array.from({ length: operations }, (_, index) => index)
const page = new Uint8Array(pageBytes)
const run = Array.from({ length: 64 }, () => new Uint8Array(pageBytes).fill(1))

const works: Record<string, (file: DiskFile) => Effect.Effect<unknown, unknown>> = {
  "read in the calling thread": (file) =>
    Effect.sync(() => {
      for (const index of indices) file.readSync(page, pageOf(index) * pageBytes)
    }),
  "read, one at a time": (file) =>
    Effect.forEach(indices, (index) => file.read(page, pageOf(index) * pageBytes), { discard: true }),
  "read, 32 at a time": (file) =>
    Effect.forEach(indices, (index) => file.read(new Uint8Array(pageBytes), pageOf(index) * pageBytes), {
      concurrency: 32,
      discard: true
    }),
  "write 64 neighbours": (file) =>
    Effect.forEach(indices.slice(0, 200), (index) => file.write(run, index * 64 * pageBytes), {
      discard: true
    }),
  "sync after 200 of these": (file) => file.sync
}
const counts: Record<string, number> = { "write 64 neighbours": 200, "sync after 200 of these": 1 }

const program = Effect.gen(function*() {
  const disk = yield* Disk
  const directory = mkdtempSync(join(flags.directory, "heartwood-bench-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true })))
  const made = yield* disk.open(`${directory}/pages`, { mode: "create" })
  yield* made.allocate(pages * pageBytes)
  const files = {
    through: made,
    past: yield* disk.open(`${directory}/pages`, { mode: "readWrite", systemCache: "bypass" })
  }
  const micros = new Map<string, Array<number>>()
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const [way, file] of Object.entries(files)) {
      // What was written past the cache is not in it any more.
      for (let at = 0; at < pages; at++) made.readSync(page, at * pageBytes)
      for (const [what, work] of Object.entries(works)) {
        const before = process.hrtime.bigint()
        yield* work(file)
        const each = Number(process.hrtime.bigint() - before) / 1e3 / (counts[what] ?? operations)
        const key = `${what}, ${way}`
        micros.set(key, [...(micros.get(key) ?? []), each])
      }
    }
  }
  for (const [key, values] of [...micros].sort(([a], [b]) => (a < b ? -1 : 1))) {
    values.sort((a, b) => a - b)
    const [least, middle, most] = [values[0], values[values.length >> 1], values.at(-1)].map((value) =>
      value?.toFixed(1)
    )
    console.log(`${key.padEnd(40)} ${String(middle).padStart(10)} µs   [${least} … ${most}]`)
  }
})

await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(NodeDisk.layer)))
