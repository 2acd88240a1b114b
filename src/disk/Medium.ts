/**
 * What a power cut would leave of a volume: the bytes and names that are durable, and the changes that are
 * not.
 *
 * It hears of every change of a `Volume` and holds it back until a sync asks for it. Which of the held
 * changes a cut lets through, and how much of each, is decided elsewhere (`Fates.ts`); here they are applied.
 *
 * - M1 A durable byte or name changes only by a sync, a survival of a crash, or tampering.
 * - M2 Held changes of one file, and of one directory, are applied in the order in which they were made.
 */
import type { DataChange, NameChange, Wrote } from "./Change.ts"
import { sectorBytes } from "./Change.ts"
import { Content } from "./Content.ts"
import type { Fates, Survival } from "./Fates.ts"
import type { Entry, Journal, Node } from "./Volume.ts"
import { assign, DirectoryNode, FileNode } from "./Volume.ts"

export class Medium implements Journal {
  /** Held back, oldest first. */
  changes: Array<DataChange> = []
  /** Held back, oldest first. */
  names: Array<NameChange> = []
  private readonly root: DirectoryNode
  private readonly contents = new WeakMap<FileNode, Content>()
  private readonly directories = new WeakMap<DirectoryNode, Map<string, Node>>()
  private deaf = false

  /** Takes the tree as it is for durable. */
  constructor(root: DirectoryNode) {
    this.root = root
    this.adopt(root)
  }

  wrote(file: FileNode, bytes: Uint8Array, position: number): void {
    this.hold({ _tag: "Wrote", file, position, bytes: bytes.slice() })
  }

  resized(file: FileNode, from: number, to: number): void {
    this.hold({ _tag: "Resized", file, from, to })
  }

  renamed(entries: ReadonlyArray<Entry>): void {
    const directories = new Set(entries.map((entry) => entry.directory))
    for (const directory of directories) {
      this.hold({ directory, entries: entries.filter((entry) => entry.directory === directory) })
    }
  }

  synced(file: FileNode): void {
    if (this.deaf) return
    const content = this.durable(file)
    for (const change of this.changes) if (change.file === file) replay(content, change)
    this.forget(file)
  }

  /** Of a write that lies in the range in part, that part is durable and the rest still held (M2). */
  syncedRange(file: FileNode, from: number, to: number): void {
    if (this.deaf) return
    // The end of a file is one for all of its bytes: where it was set, all that was done before is made durable too.
    if (this.changes.some((change) => change.file === file && change._tag === "Resized")) {
      return this.synced(file)
    }
    const content = this.durable(file)
    this.changes = this.changes.flatMap((change) => {
      if (change.file !== file || change._tag !== "Wrote") return [change]
      const { bytes, position } = change
      const first = Math.min(bytes.length, Math.max(0, from - position))
      const last = Math.max(first, Math.min(bytes.length, to - position))
      if (first === last) return [change]
      content.write(bytes.subarray(first, last), position + first)
      const left = [
        { ...change, bytes: bytes.subarray(0, first) },
        { ...change, bytes: bytes.subarray(last), position: position + last }
      ]
      return left.filter((part) => part.bytes.length > 0)
    })
  }

  syncedDirectory(directory: DirectoryNode): void {
    if (this.deaf) return
    const names = this.durableNames(directory)
    const held = (change: NameChange) => change.directory === directory
    for (const change of this.names.filter(held)) {
      for (const entry of change.entries) assign(names, entry)
    }
    this.names = this.names.filter((change) => !held(change))
  }

  /** Drops what is held of a file: its dirty pages are marked clean and never written. */
  forget(file: FileNode): void {
    this.changes = this.changes.filter((change) => change.file !== file)
  }

  /** Runs `act` without hearing of anything it does, syncs included. */
  ignore<A>(act: () => A): A {
    this.deaf = true
    try {
      return act()
    } finally {
      this.deaf = false
    }
  }

  /** A file's durable content. Changing it is tampering. */
  durable(file: FileNode): Content {
    let content = this.contents.get(file)
    if (content === undefined) this.contents.set(file, content = new Content())
    return content
  }

  /** What a reader sees once nothing of the file is cached but its dirty pages. */
  uncached(file: FileNode): Content {
    const content = this.durable(file).fork()
    for (const change of this.changes) if (change.file === file) replay(content, change)
    return content
  }

  /** The tree that is found after a power cut in which the held changes met these fates. */
  image(fates: Fates): DirectoryNode {
    const names = new Map<DirectoryNode, Map<string, Node>>()
    for (let i = 0; i < this.names.length; i++) {
      const { directory, entries } = this.names[i]!
      if (!fates.name(i)) continue
      const found = names.get(directory) ?? new Map(this.durableNames(directory))
      for (const entry of entries) assign(found, entry)
      names.set(directory, found)
    }
    const contents = new Map<FileNode, Content>()
    for (let i = 0; i < this.changes.length; i++) {
      const change = this.changes[i]!
      const durable = this.durable(change.file)
      const found = contents.get(change.file) ?? durable.fork()
      survive(found, durable.size, change, fates.data(i), fates.garbage)
      contents.set(change.file, found)
    }
    return copyTree(this.root, {
      names: (directory) => names.get(directory) ?? this.durableNames(directory),
      content: (file) => contents.get(file) ?? this.durable(file).fork()
    })
  }

  private durableNames(directory: DirectoryNode): Map<string, Node> {
    let names = this.directories.get(directory)
    if (names === undefined) this.directories.set(directory, names = new Map())
    return names
  }

  private adopt(directory: DirectoryNode): void {
    this.directories.set(directory, new Map(directory.entries))
    for (const node of directory.entries.values()) {
      if (node instanceof DirectoryNode) this.adopt(node)
      else this.contents.set(node, node.content.fork())
    }
  }

  private hold(change: DataChange | NameChange): void {
    if (this.deaf) return
    if ("_tag" in change) this.changes.push(change)
    else this.names.push(change)
  }
}

/** A tree of its own with the names and contents that `as` gives; a file with two names stays one file. */
export const copyTree = (root: DirectoryNode, as: {
  readonly names: (directory: DirectoryNode) => ReadonlyMap<string, Node>
  readonly content: (file: FileNode) => Content
}): DirectoryNode => {
  const files = new Map<FileNode, FileNode>()
  const copyFile = (file: FileNode): FileNode => {
    const copy = files.get(file) ?? new FileNode(as.content(file))
    files.set(file, copy)
    return copy
  }
  const copy = (directory: DirectoryNode): DirectoryNode => {
    const entries = new Map<string, Node>()
    for (const [name, node] of as.names(directory)) {
      entries.set(name, node instanceof FileNode ? copyFile(node) : copy(node))
    }
    return new DirectoryNode(entries)
  }
  return copy(root)
}

const replay = (content: Content, change: DataChange): void => {
  if (change._tag === "Wrote") content.write(change.bytes, change.position)
  else content.resize(change.to)
}

/** Applies what survived of one change. `durableBytes`: where the file ended at its last sync. */
const survive = (
  content: Content,
  durableBytes: number,
  change: DataChange,
  survival: Survival,
  garbage: () => number
): void => {
  if (survival._tag === "Lost") return
  if (survival._tag === "Whole") return replay(content, change)
  if (change._tag === "Resized") {
    if (change.to > change.from) content.resize(Math.max(content.size, change.from + survival.bytes))
    return
  }
  const { bytes, position } = change
  const fresh = Math.min(durableBytes, content.size)
  const end = position + bytesKept(content, change, survival.bytes)
  const first = Math.floor(position / sectorBytes)
  for (let from = position, sector = 0; from < end; sector++) {
    const to = Math.min(end, (first + sector + 1) * sectorBytes)
    const fate = survival.sector(sector)
    if (fate === "new") content.write(bytes.subarray(from - position, to - position), from)
    else if (fate !== "old" && to > fresh) {
      fill(content, Math.max(from, fresh), to, fate === "garbage" ? garbage : zero)
    }
    from = to
  }
}

/**
 * The end of a file may land on any byte; inside the file a sector is old or new, never a mixture of both.
 */
const bytesKept = (content: Content, change: Wrote, bytes: number): number => {
  if (bytes >= change.bytes.length) return change.bytes.length
  const end = change.position + bytes
  return end >= content.size ? bytes : end - end % sectorBytes - change.position
}

const zero = () => 0

/** Content that never arrived, where the file's end did. */
const fill = (content: Content, from: number, to: number, byte: () => number): void => {
  const bytes = new Uint8Array(to - from)
  for (let i = 0; i < bytes.length; i++) bytes[i] = byte()
  content.write(bytes, from)
}
