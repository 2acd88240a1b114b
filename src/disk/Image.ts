/**
 * A whole disk, frozen: as a power cut would leave it, or as a program sees it.
 *
 * An image never changes and shares its bytes with the disk it was taken from and with the disks made from
 * it, so that a test can keep thousands.
 */
import { hash } from "node:crypto"
import { Content } from "./Content.ts"
import { copyTree } from "./Medium.ts"
import type { DirectoryNode, FileNode } from "./Volume.ts"
import { Volume } from "./Volume.ts"

export class Image {
  /** What survived, in words, for the report of a failing test. */
  readonly story: string
  private readonly volume: Volume

  /** Takes the tree over; nobody else may change it. */
  constructor(root: DirectoryNode, story: string) {
    this.story = story
    this.volume = new Volume(root)
  }

  /** A tree of its own, for a disk that begins with this image. */
  tree(): DirectoryNode {
    return copyTree(this.volume.root, {
      names: (directory) => directory.entries,
      content: (file) => file.content.fork()
    })
  }

  /** Paths of all files, sorted. */
  paths(): ReadonlyArray<string> {
    return this.volume.files().map(([path]) => path)
  }

  /** What is in the files, by path, to be looked at only. */
  contents(): ReadonlyMap<string, Content> {
    return new Map(this.volume.files().map(([path, { content }]) => [path, content]))
  }

  /** The bytes of a file; `undefined` where there is none. */
  read(path: string): Uint8Array | undefined {
    return fileAt(this.volume, path)?.content.toBytes()
  }

  /** The same disk with other bytes in a file, which must exist, or without it. */
  replace(path: string, bytes: Uint8Array | undefined): Image {
    const image = new Image(this.tree(), this.story)
    replaceFile(image.volume, path, bytes)
    return image
  }

  /** Equal for equal files of equal names, and else different. */
  digest(): string {
    let files = ""
    for (const [path, file] of this.volume.files()) files += `${path}\0${file.content.digest()}\0`
    return hash("sha256", files)
  }
}

/** The file that a path leads to, if it leads to one. */
export const fileAt = (volume: Volume, path: string): FileNode | undefined =>
  volume.kind(path) === "file" ? volume.open(path, "readOnly").file : undefined

const replaceFile = (volume: Volume, path: string, bytes: Uint8Array | undefined): void => {
  if (bytes === undefined) return volume.unlink(path)
  const content = new Content()
  content.write(bytes, 0)
  volume.open(path, "readWrite").file.content = content
}
