/**
 * A file with operations of its own here and there: the others are those of the file that it stands for.
 */
import type { DiskFile } from "../../src/disk/Disk.ts"

export const watched = (file: DiskFile, changes: Partial<DiskFile>): DiskFile => ({
  path: file.path,
  counters: file.counters,
  read: (buffer, position) => file.read(buffer, position),
  readSync: (buffer, position) => file.readSync(buffer, position),
  write: (buffers, position) => file.write(buffers, position),
  writeSync: (buffers, position) => file.writeSync(buffers, position),
  sync: file.sync,
  syncSync: () => file.syncSync(),
  size: file.size,
  allocate: (bytes) => file.allocate(bytes),
  truncate: (bytes) => file.truncate(bytes),
  close: file.close,
  ...changes
})
