/**
 * A change of a disk that is seen but not durable yet: what a power cut decides about.
 */
import type { DirectoryNode, Entry, FileNode } from "./Volume.ts"

/** Bytes that a disk writes whole or not at all. */
export const sectorBytes = 512

export interface Wrote {
  readonly _tag: "Wrote"
  readonly file: FileNode
  readonly position: number
  readonly bytes: Uint8Array
}

export interface Resized {
  readonly _tag: "Resized"
  readonly file: FileNode
  readonly from: number
  readonly to: number
}

/** A change of a file's bytes or end that was not synced. */
export type DataChange = Wrote | Resized

/**
 * Names of one directory that change together. A rename between directories is two of these: either may be
 * lost.
 */
export interface NameChange {
  readonly directory: DirectoryNode
  readonly entries: ReadonlyArray<Entry>
}

/** Changes not yet durable, oldest first. */
export interface Held {
  readonly names: ReadonlyArray<NameChange>
  readonly changes: ReadonlyArray<DataChange>
}
