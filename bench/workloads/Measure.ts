/**
 * One measurement: so much work, or work for so long, and what it cost in time, processor and bytes that were written.
 *
 * Bytes are those that the kernel counts for the process (`/proc/self/io`): what it made dirty, whatever engine, and
 * whichever of its threads did it. Where there is no such file they are not known.
 */
import { readFileSync } from "node:fs"
import type { Answer } from "../engines/Engine.ts"
import { nothingSeen } from "../engines/Engine.ts"
import type { Percentiles } from "./Latencies.ts"

export interface Sample {
  readonly operations: number
  readonly millis: number
  /** Of all threads of the process. */
  readonly cpuMillis: number
  /** Bytes that the kernel has to write, where it says so. */
  readonly writtenBytes?: number | undefined
  /** Bytes that it was handed in calls; more than the other where the same pages are written again. */
  readonly handedBytes?: number | undefined
  readonly found: number
  readonly checksum: number
  readonly latency?: Percentiles | undefined
  /** Other numbers, each named with its unit. */
  readonly more?: Readonly<Record<string, number>> | undefined
  /** Operations of slices of time, one after another. */
  readonly timeline?: ReadonlyArray<Moment> | undefined
}

export interface Moment {
  /** Milliseconds from the beginning to the end of the slice. */
  readonly at: number
  readonly millis: number
  readonly operations: number
  readonly phase: string
}

/** How much is done: for so long, or, where it must be the same in every engine, so many operations. */
export interface Budget {
  readonly millis: number
  readonly operations?: number | undefined
}

/** What the kernel has counted of a process since it began. */
interface Counted {
  /** Bytes of the system's cache that it made dirty, less those that were dropped again; once where it was so already. */
  readonly dirtied: number
  /** Bytes that it handed over in calls that write; what it changed in mapped memory is not among them. */
  readonly handed: number
}

const counted = (): Counted | undefined => {
  try {
    const text = readFileSync("/proc/self/io", "latin1")
    const of = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, "m").exec(text)?.[1])
    return { dirtied: of("write_bytes") - of("cancelled_write_bytes"), handed: of("wchar") }
  } catch {
    return undefined
  }
}

/** Bytes that the process has made the kernel write since it began, less those that were dropped again. */
export const writtenBytes = (): number | undefined => counted()?.dirtied

const millisOf = ({ system, user }: NodeJS.CpuUsage): number => (system + user) / 1_000

/** Begins to count; the function that is answered says what there was since. */
export const meter = (): (operations: number, answer?: Answer) => Sample => {
  const before = counted()
  const cpu = process.cpuUsage()
  const begun = performance.now()
  return (operations, answer = nothingSeen()) => {
    const millis = performance.now() - begun
    const cpuMillis = millisOf(process.cpuUsage(cpu))
    const after = counted()
    return {
      operations,
      millis,
      cpuMillis,
      ...before === undefined || after === undefined
        ? {}
        : { writtenBytes: after.dirtied - before.dirtied, handedBytes: after.handed - before.handed },
      ...answer
    }
  }
}

/**
 * Does work in pieces until the budget is spent: of `first` operations until one whole piece is done, then of `piece`.
 * The last of a count may be smaller.
 */
export const spend = async (
  { millis, operations }: Budget,
  piece: number,
  work: (from: number, length: number) => Answer | Promise<Answer>,
  first = piece
): Promise<Sample> => {
  const answer = nothingSeen()
  const end = meter()
  const deadline = performance.now() + millis
  let done = 0
  for (;;) {
    const next = done < piece ? first : piece
    const length = Math.min(next, (operations ?? Infinity) - done)
    const some = work(done, length)
    const { checksum, found } = some instanceof Promise ? await some : some
    answer.found += found
    answer.checksum = answer.checksum + checksum | 0
    done += length
    if (operations === undefined ? performance.now() >= deadline : done >= operations) break
  }
  return end(done, answer)
}
