/**
 * A disk on which one file may not grow beyond some bytes, as under a limit on the size of files or a quota of one
 * file, while there is room for all others.
 */
import * as Effect from "effect/Effect"
import { Disk } from "../../src/disk/Disk.ts"
import type { DiskFile } from "../../src/disk/Disk.ts"
import { DiskFailed, storeError } from "../../src/StoreError.ts"

export interface Cap {
  readonly path: string
  bytes: number
  readonly code: string
}

/** The provided disk under a cap, which may be raised at any time. */
export const capped = (cap: Cap): Effect.Effect<Disk["Service"], never, Disk> =>
  Effect.map(Disk, (disk): Disk["Service"] => {
    const limited = (file: DiskFile): DiskFile =>
      Object.assign(Object.create(file) as DiskFile, {
        write: (buffers: ReadonlyArray<Uint8Array>, position: number) => {
          const end = buffers.reduce((sum, { length }) => sum + length, position)
          if (end <= cap.bytes) return file.write(buffers, position)
          const { code, path } = cap
          return Effect.fail(storeError(new DiskFailed({ operation: "write", path, code, cause: undefined })))
        }
      })
    return Object.assign(Object.create(disk) as Disk["Service"], {
      open: (...args: Parameters<typeof disk.open>) =>
        Effect.map(disk.open(...args), (file) => file.path === cap.path ? limited(file) : file)
    })
  })
