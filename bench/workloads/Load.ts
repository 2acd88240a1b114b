/**
 * Loading: records into an empty store in batches of a thousand, in random and in ascending order, without a sync.
 *
 * The time ends when everything is visible. Afterwards the store is closed, and what the kernel wrote for it by then
 * and what it takes on the disk are counted beside the bytes of the records: amplification of writes and of space.
 */
import { readdirSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { meter, writtenBytes } from "./Measure.ts"
import type { Sample } from "./Measure.ts"
import { keyBytes, valueBytes } from "./Records.ts"
import type { Order } from "./Records.ts"
import type { Workload } from "./Workload.ts"

const batchRecords = 1_000

/** Blocks of all files below a directory. */
export const usedBytes = (directory: string): number => {
  let bytes = 0
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    const { blocks } = statSync(join(directory, name))
    bytes += blocks * 512
  }
  return bytes
}

const load = (order: Order): Workload => ({
  name: `load-${order}`,
  title: `load, ${order} order`,
  unit: "records",
  run: async (stage, { operations }): Promise<Sample | undefined> => {
    const count = operations ?? stage.setting.records
    const records = stage.records(order)
    const written = writtenBytes()
    const { directory, session } = await stage.openFresh()
    if (session.load === undefined) {
      await session.close()
      return undefined
    }
    const end = meter()
    await session.load(records, 0, count, batchRecords)
    const sample = end(count)
    const seen = await session.scan?.("ascending")
    await session.close()
    const userBytes = count * (keyBytes + valueBytes)
    const now = writtenBytes()
    const more = {
      spacePerUserByte: usedBytes(directory) / userBytes,
      ...written === undefined || now === undefined ? {} : { writtenPerUserByte: (now - written) / userBytes }
    }
    rmSync(directory, { recursive: true })
    return { ...sample, ...seen, more }
  }
})

export const workloads: ReadonlyArray<Workload> = [load("random"), load("ascending")]
