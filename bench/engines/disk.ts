/**
 * No engine: the calls that every engine on this disk must make, as a bound for all.
 *
 * A commit overwrites a page of a file that has its length already, and syncs it (`fdatasync`) in the calling thread;
 * a get reads a page of a file that is in the system's cache. With 64 in flight reads pass by that cache, where the file
 * system can do that. A "checkpoint" writes pages to another file, as many bytes as the loaded records have, and syncs.
 */
import * as fs from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { keyBytes, valueBytes } from "../workloads/Records.ts"
import type { Answer, Engine, OpenOptions, Picks, Session, Writing } from "./Engine.ts"
import { nothingSeen, see, turn } from "./Engine.ts"
import { writersOf } from "./Singles.ts"

/** The part of it that is used: no types of it are at hand without those of browsers. */
declare const WebAssembly: {
  readonly Memory: new(options: { readonly initial: number }) => { readonly buffer: ArrayBuffer }
}

const pageBytes = 4_096
/** Pages that commits overwrite, one after another. */
const logPages = 4_096
/** Of pieces as the engine's own log has them (`NodeFile.ts`): a small write into larger folios costs a tenth more. */
const logChunkBytes = 256 << 10
const pagesChunkBytes = 1 << 20
const turnCommits = 8

const read = promisify(fs.read)
const write = promisify(fs.write)
const sync = promisify(fs.fdatasync)

/** Past the system's cache, or through it where that cannot be done. */
const openDirect = (path: string): number => {
  try {
    return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECT)
  } catch {
    return fs.openSync(path, "r")
  }
}

/** A file of so many pages, all of them written in such pieces and synced. */
const filled = (path: string, pages: number, chunkBytes: number): number => {
  const file = fs.openSync(path, "w+")
  const chunk = Buffer.alloc(chunkBytes, 1)
  for (let at = 0; at < pages * pageBytes; at += chunkBytes) {
    fs.writeSync(file, chunk, 0, Math.min(chunkBytes, pages * pageBytes - at), at)
  }
  fs.fdatasyncSync(file)
  return file
}

/** Pages that begin where a block of memory does, as reads past the cache ask for. */
const aligned = (pages: number): ReadonlyArray<Buffer> => {
  const { buffer } = new WebAssembly.Memory({ initial: Math.ceil(pages * pageBytes / 65_536) })
  return Array.from({ length: pages }, (_, page) => Buffer.from(buffer, page * pageBytes, pageBytes))
}

class Disk {
  readonly log: number
  readonly pages: number
  readonly count: number
  private readonly direct: number
  private readonly page = Buffer.alloc(pageBytes)
  private lanes: ReadonlyArray<Buffer> = []

  constructor({ directory }: OpenOptions, records: number) {
    this.count = Math.max(1, Math.ceil(records * (keyBytes + valueBytes) / pageBytes))
    this.log = filled(join(directory, "log"), logPages, logChunkBytes)
    this.pages = filled(join(directory, "pages"), this.count, pagesChunkBytes)
    this.direct = openDirect(join(directory, "pages"))
  }

  readonly gets = ({ from, indices, to }: Picks): Answer => {
    const answer = nothingSeen()
    for (let place = from; place < to; place++) {
      fs.readSync(this.pages, this.page, 0, pageBytes, ((indices[place] as number) % this.count) * pageBytes)
      see(answer, this.page)
    }
    return answer
  }

  readonly getsInFlight = async ({ from, indices, to }: Picks, inFlight: number): Promise<Answer> => {
    const answer = nothingSeen()
    let next = from
    if (this.lanes.length < inFlight) this.lanes = aligned(inFlight)
    const lane = async (page: Buffer): Promise<void> => {
      while (next < to) {
        const at = ((indices[next++] as number) % this.count) * pageBytes
        await read(this.direct, page, 0, pageBytes, at)
        see(answer, page)
      }
    }
    await Promise.all(this.lanes.slice(0, inFlight).map(lane))
    return answer
  }

  readonly write = ({ ...writing }: Writing): Promise<void> => {
    const page = Buffer.alloc(pageBytes, 2)
    let at = 0
    let commits = 0
    return writersOf((key) => {
      page.set(key)
      fs.writeSync(this.log, page, 0, pageBytes, at)
      fs.fdatasyncSync(this.log)
      at = (at + pageBytes) % (logPages * pageBytes)
      // Off the stack now and then, so that a checkpoint beside comes to its turn.
      return ++commits % turnCommits === 0 ? turn() : undefined
    })(writing)
  }

  readonly checkpoint = async (): Promise<void> => {
    const chunk = Buffer.alloc(pagesChunkBytes, 3)
    const bytes = this.count * pageBytes
    for (let at = 0; at < bytes; at += pagesChunkBytes) {
      await write(this.pages, chunk, 0, Math.min(pagesChunkBytes, bytes - at), at)
    }
    await sync(this.pages)
  }

  readonly close = async (): Promise<void> => {
    for (const file of [this.log, this.pages, this.direct]) fs.closeSync(file)
  }
}

export const disk: Engine = {
  name: "disk",
  rank: "reference",
  version: () => process.version,
  open: async (options: OpenOptions): Promise<Session> => {
    let made: Disk | undefined
    const of = (): Disk => made ?? (made = new Disk(options, 0))
    return {
      options: { pageBytes },
      load: async (_records, from, to) => {
        made = new Disk(options, to - from)
      },
      gets: (picks) => of().gets(picks),
      getsInFlight: (picks, inFlight) => of().getsInFlight(picks, inFlight),
      write: (writing) => writing.writers === 1 ? of().write(writing) : Promise.resolve(),
      checkpoint: () => of().checkpoint(),
      close: () => of().close()
    }
  }
}
