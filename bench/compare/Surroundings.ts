/**
 * What the bench runs on, as far as it can be found out: numbers of one machine say little of another.
 */
import { execFileSync } from "node:child_process"
import { readFileSync, statfsSync } from "node:fs"
import * as os from "node:os"

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly kernel: string
  readonly node: string
  readonly v8: string
  /** Of the engine's repository; with a star where files differ. */
  readonly revision: string
  readonly directory: string
  readonly fileSystem: string
  /** One minute's average of processes that want to run, at the beginning. */
  readonly load: number
}

const attempt = (look: () => string): string => {
  try {
    return look().trim()
  } catch {
    return "unknown"
  }
}

const git = (...args: ReadonlyArray<string>): string =>
  attempt(() =>
    execFileSync("git", args, {
      cwd: import.meta.dirname,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"]
    })
  )

/** The type of the file system that a directory is on: that of the longest mount point above it. */
const fileSystemOf = (directory: string): string =>
  attempt(() => {
    const mounts = readFileSync("/proc/mounts", "utf8").split("\n").map((line) => line.split(" "))
    const above = mounts.filter(([, at = ""]) => at === "/" || `${directory}/`.startsWith(`${at}/`))
    above.sort(([, a = ""], [, b = ""]) => b.length - a.length)
    return above[0]?.[2] ?? "unknown"
  })

export const freeBytes = (directory: string): number => {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}

export const machineOf = (directory: string): Machine => ({
  cpu: os.cpus()[0]?.model ?? "unknown",
  cores: os.availableParallelism(),
  memoryBytes: os.totalmem(),
  kernel: os.release(),
  node: process.versions.node,
  v8: process.versions.v8,
  revision: `${git("rev-parse", "--short", "HEAD")}${git("status", "--porcelain") === "" ? "" : "*"}`,
  directory,
  fileSystem: fileSystemOf(directory),
  load: os.loadavg()[0] ?? 0
})
