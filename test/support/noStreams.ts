/**
 * For a tree without a log: no stream ever comes.
 */
import type { Options } from "../../src/actors/Tree.ts"
import { OpenStreams } from "../../src/log/Pieces.ts"

export const noStreams = (): Pick<Options, "streams" | "slices"> => ({
  streams: new OpenStreams(),
  slices: { applyInOneSlice: 1, readPiece: () => {}, pause: () => {}, hasRoom: () => true }
})
