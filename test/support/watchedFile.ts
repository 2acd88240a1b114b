/**
 * A file with operations of its own here and there: the others are those of the file that it stands for. A durable
 * write is a write and a sync, whichever these are.
 */
import * as Effect from "effect/Effect"
import type { DiskFile } from "../../src/disk/Disk.ts"

export const watched = (file: DiskFile, changes: Partial<DiskFile>): DiskFile => {
  const all = {
    path: file.path,
    counters: file.counters,
    read: (...args: Parameters<DiskFile["read"]>) => file.read(...args),
    readSync: (...args: Parameters<DiskFile["readSync"]>) => file.readSync(...args),
    write: (...args: Parameters<DiskFile["write"]>) => file.write(...args),
    writeSync: (...args: Parameters<DiskFile["writeSync"]>) => file.writeSync(...args),
    sync: file.sync,
    syncSync: () => file.syncSync(),
    size: file.size,
    allocate: (bytes: number) => file.allocate(bytes),
    truncate: (bytes: number) => file.truncate(bytes),
    durableWritesAtOnce: file.durableWritesAtOnce,
    close: file.close,
    ...changes
  }
  return {
    writeDurably: (buffers, position) => Effect.andThen(all.write(buffers, position), all.sync),
    writeDurablySync: (buffers, position) => {
      all.writeSync(buffers, position)
      all.syncSync()
    },
    ...all
  }
}
