/**
 * A disk whose operations take their time, as a schedule decides: before they happen, and before they answer.
 *
 * The disks of tests answer in the step in which they were asked, which no real one does. What is asked for in the
 * calling thread stays as it is.
 */
import * as Effect from "effect/Effect"
import type { Disk, DiskFile } from "../../src/disk/Disk.ts"
import type { StoreError } from "../../src/StoreError.ts"

/**
 * Wraps a disk; `pause` runs around every operation, `begun` is told of each just before it happens, and `failed` of a
 * file's write or sync that the disk refused, before anybody else is.
 */
export const slowed = (
  disk: Disk["Service"],
  pause: Effect.Effect<void>,
  begun: Effect.Effect<void>,
  failed: (path: string) => void = () => {}
): Disk["Service"] => {
  const slow = <A>(operation: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    pause.pipe(Effect.andThen(begun), Effect.andThen(operation), Effect.tap(() => pause))
  const told = (path: string, operation: Effect.Effect<void, StoreError>) =>
    Effect.tapError(operation, () => Effect.sync(() => failed(path)))
  const write = (inner: DiskFile): DiskFile["write"] => (buffers, position) =>
    slow(told(inner.path, inner.write(buffers, position)))
  const file = (inner: DiskFile): DiskFile => ({
    ...inner,
    read: (buffer, position) => slow(inner.read(buffer, position)),
    write: write(inner),
    // The bytes are there for a while before they are durable, and nothing else becomes so with them.
    writeDurably: (buffers, position) =>
      Effect.andThen(
        write(inner)(buffers, position),
        slow(told(inner.path, inner.writeDurably(buffers, position)))
      ),
    sync: slow(told(inner.path, inner.sync)),
    size: slow(inner.size),
    allocate: (bytes) => slow(inner.allocate(bytes)),
    truncate: (bytes) => slow(inner.truncate(bytes))
  })
  return {
    ...disk,
    open: (path, options) => Effect.map(slow(disk.open(path, options)), file),
    kind: (path) => slow(disk.kind(path)),
    list: (path) => slow(disk.list(path)),
    makeDirectory: (path) => slow(disk.makeDirectory(path)),
    rename: (from, to) => slow(disk.rename(from, to)),
    unlink: (path) => slow(disk.unlink(path)),
    syncDirectory: (path) => slow(disk.syncDirectory(path)),
    freeBytes: (path) => slow(disk.freeBytes(path))
  }
}
