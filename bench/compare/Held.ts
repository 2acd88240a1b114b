/**
 * A limit on the memory of processes, page cache of their files included: a control group of the kernel (version 1 or 2)
 * below the one that this process is in.
 *
 * Where groups cannot be made there is none, and what needs one is not run. A process that is put into a group brings
 * nothing along: what it touches from then on counts.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const mount = "/sys/fs/cgroup"

/** As little as the kernel can be asked to leave a group. */
const emptyBytes = 1 << 20
const attempts = 100

/** Directory of this process's own group, and the file of a group that holds its limit. */
const own = (): { readonly directory: string; readonly limit: string } | undefined => {
  const lines = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n").map((line) => line.split(":"))
  const first = lines.find(([, controllers]) => controllers === "memory")?.[2]
  if (first !== undefined) return { directory: join(mount, "memory", first), limit: "memory.limit_in_bytes" }
  const second = lines.find(([number]) => number === "0")?.[2]
  return second === undefined ? undefined : { directory: join(mount, second), limit: "memory.max" }
}

export class Held {
  private readonly directory: string
  private readonly limitFile: string

  private constructor(directory: string, limitFile: string) {
    this.directory = directory
    this.limitFile = limitFile
  }

  /** A group without a limit yet; undefined where none can be made. */
  static make(name: string): Held | undefined {
    try {
      const parent = own()
      if (parent === undefined) return undefined
      const directory = join(parent.directory, `heartwood-${process.pid}-${name}`)
      mkdirSync(directory)
      if (existsSync(join(directory, parent.limit))) return new Held(directory, join(directory, parent.limit))
      rmdirSync(directory)
    } catch {
      // Read-only, or not ours to divide.
    }
    return undefined
  }

  add(pid: number): void {
    writeFileSync(join(this.directory, "cgroup.procs"), `${pid}`)
  }

  limit(bytes: number): void {
    writeFileSync(this.limitFile, `${bytes}`)
  }

  /** What its processes have left in the system's cache goes, as far as it is written: once they have ended. */
  async empty(): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      try {
        return this.limit(emptyBytes)
      } catch {
        // Busy: some of it is on its way to the disk.
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
    throw new Error("the system keeps files in memory that nobody has open")
  }

  /** Works once the processes have ended. */
  remove(): void {
    try {
      rmdirSync(this.directory)
    } catch {
      // A process that is still ending keeps it; it goes with the group above.
    }
  }
}

/** Memory of a process that is no file's. */
export const anonymousBytes = (pid: number): number =>
  Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? NaN) * 1_024
