/**
 * The board of `faults.c`, from the side of whoever starts the process: which call is to be struck and how, and what
 * was seen of it. The layout stands there.
 *
 * It is a file, so what was seen outlives the process, however that ended.
 */
import { execFileSync } from "node:child_process"
import fs from "node:fs"
import path from "node:path"

const names = [
  "write",
  "pwrite",
  "pwritev",
  "fsync",
  "fdatasync",
  "ftruncate",
  "rename",
  "unlink",
  "open",
  "read",
  "mkdir",
  "dsync"
] as const

export type Call = typeof names[number]

/** In the order of the numbers on the board. */
const actions = ["fail", "short", "torn", "killBefore", "killAfter", "drop", "lie"] as const

export interface Strike {
  /** Which calls count. */
  readonly calls: ReadonlyArray<Call>
  /** Text that the path must contain. */
  readonly match?: string
  /** The first of them that is struck, from 1. */
  readonly at: number
  /** How many are struck from there on; 0 means all. */
  readonly times: number
  /**
   * `fail`: with the code. `short`: writes a part once, fails from then on. `torn`: writes a part, and the process is
   * killed. `killBefore`, `killAfter`: it is killed. `drop`: a sync fails, and what it was to make durable is undone.
   * `lie`: it is undone, and the sync succeeds.
   */
  readonly action: typeof actions[number]
  readonly code?: keyof typeof codes
  /** Of a short or torn write, what is written of it. */
  readonly bytes?: number
}

/** Numbers of Linux. */
const codes = { EIO: 5, EMFILE: 24, ENOSPC: 28, EROFS: 30, EDQUOT: 122 }

export interface Seen {
  /** Calls that were struck. */
  readonly struck: number
  /** Syncs of a file after one of it had failed. */
  readonly again: number
  /** What was called since the last strike was set up. */
  readonly each: Readonly<Record<Call, number>>
}

const bytes = 152
const matchOffset = 40
const eachOffset = 104

export class Board {
  readonly path: string

  constructor(path: string) {
    this.path = path
    if (!fs.existsSync(path)) fs.writeFileSync(path, Buffer.alloc(bytes))
  }

  /** Sets up a strike, or none, and counts anew. */
  arm(strike?: Strike): void {
    const board = Buffer.alloc(bytes)
    if (strike !== undefined) {
      const { action, at, bytes = 0, calls, code = "EIO", match = "", times } = strike
      const bits = calls.reduce((sum, call) => sum | 1 << names.indexOf(call), 0)
      const fields = [bits, at, times, actions.indexOf(action), codes[code], bytes]
      for (const [index, field] of fields.entries()) board.writeInt32LE(field, 4 * index)
      board.write(match, matchOffset, 63, "latin1")
    }
    // Written, not replaced: the process has this file in its memory.
    const file = fs.openSync(this.path, "r+")
    fs.writeSync(file, board, 0, bytes, 0)
    fs.closeSync(file)
  }

  seen(): Seen {
    const board = fs.readFileSync(this.path)
    const each = names.map((name, index) => [name, board.readInt32LE(eachOffset + 4 * index)] as const)
    return {
      struck: board.readInt32LE(28),
      again: board.readInt32LE(36),
      each: Object.fromEntries(each) as Record<Call, number>
    }
  }
}

/** Compiles the library into a directory; answers its path, or why there is none. */
export const compile = (directory: string): { readonly library: string } | { readonly lacking: string } => {
  if (process.platform !== "linux") return { lacking: `no LD_PRELOAD on ${process.platform}` }
  const library = path.join(directory, "faults.so")
  const source = path.join(import.meta.dirname, "faults.c")
  const found = ["cc", "gcc", "clang"].find((name) => isThere(name))
  if (found === undefined) return { lacking: "no C compiler" }
  const build = (input: string, output: string) =>
    execFileSync(found, ["-shared", "-fPIC", "-O2", "-Wall", "-o", output, input, "-ldl", "-lpthread"])
  const probe = path.join(directory, "probe.c")
  // `off64_t` is glibc's.
  fs.writeFileSync(probe, "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <sys/types.h>\noff64_t probe;\n")
  try {
    build(probe, path.join(directory, "probe.so"))
  } catch {
    return { lacking: "no C compiler with the headers of glibc" }
  }
  // From here on, what does not compile is a failure.
  build(source, library)
  return { library }
}

const isThere = (name: string): boolean =>
  (process.env["PATH"] ?? "").split(path.delimiter).some((directory) =>
    fs.existsSync(path.join(directory, name))
  )

/** What a process needs in its environment, to be struck where it uses files below `under`. */
export const environment = (
  options: { readonly library: string; readonly board: Board; readonly under: string }
): Record<string, string> => ({
  LD_PRELOAD: options.library,
  HEARTWOOD_FAULTS_BOARD: options.board.path,
  HEARTWOOD_FAULTS_UNDER: options.under
})
