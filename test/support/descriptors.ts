/**
 * A disk that counts the files that are open, to find those that nobody closes.
 */
import * as Effect from "effect/Effect"
import type { Disk } from "../../src/disk/Disk.ts"
import { watched } from "./watchedFile.ts"

export interface Counted {
  readonly disk: Disk["Service"]
  /** Paths under which the files were opened that are open now. */
  readonly open: () => ReadonlyArray<string>
}

export const counted = (disk: Disk["Service"]): Counted => {
  const open = new Map<object, string>()
  return {
    disk: {
      ...disk,
      open: (path, options) =>
        Effect.map(disk.open(path, options), (file) => {
          const key = {}
          open.set(key, path)
          const close = Effect.andThen(Effect.sync(() => open.delete(key)), file.close)
          return watched(file, { close })
        })
    },
    open: () => [...open.values()]
  }
}
