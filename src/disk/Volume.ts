/**
 * A file system in memory: what a program sees, at once and exactly.
 *
 * `MemoryDisk` is this behind the door of `Disk`, and `FaultDisk` keeps beside it what of all this would
 * survive a power cut. It answers with the system's codes, thrown as `SystemError`, where Linux would. It
 * knows no Effect, and nothing of durability: whoever must know what changed passes a {@link Journal}.
 *
 * A file lives as long as a name or an open handle leads to it.
 */
import { Content } from "./Content.ts"
import type { Kind, LockMode, OpenMode } from "./Disk.ts"
import { codeOf, SystemError } from "./Disk.ts"

/** A file, apart from its names. */
export class FileNode {
  content: Content
  constructor(content: Content = new Content()) {
    this.content = content
  }
}

/** A directory: names and what they lead to. */
export class DirectoryNode {
  readonly entries: Map<string, Node>
  constructor(entries: Map<string, Node> = new Map()) {
    this.entries = entries
  }
}

export type Node = FileNode | DirectoryNode

/** One name in a directory as it is set: to a node, or to nothing. */
export interface Entry {
  readonly directory: DirectoryNode
  readonly name: string
  readonly node: Node | undefined
}

/** Told of every change right after it was made. */
export interface Journal {
  readonly wrote: (file: FileNode, bytes: Uint8Array, position: number) => void
  readonly resized: (file: FileNode, from: number, to: number) => void
  /** The entries change together, or not at all. */
  readonly renamed: (entries: ReadonlyArray<Entry>) => void
  readonly synced: (file: FileNode) => void
  /** Synced from byte `from` up to byte `to`, and no further. */
  readonly syncedRange: (file: FileNode, from: number, to: number) => void
  readonly syncedDirectory: (directory: DirectoryNode) => void
}

/** An open file of a volume. */
export interface Handle {
  readonly path: string
  readonly file: FileNode
  readonly mode: OpenMode
  closed: boolean
}

const silent: Journal = {
  wrote: () => {},
  resized: () => {},
  renamed: () => {},
  synced: () => {},
  syncedRange: () => {},
  syncedDirectory: () => {}
}

export class Volume {
  readonly root: DirectoryNode
  /**
   * Sum of file sizes beyond which writes fail with `ENOSPC`. A hole counts, so that overwriting always
   * succeeds.
   */
  capacityBytes = Infinity
  private readonly journal: Journal
  /** Who holds each lock: one alone, or so many together. */
  private readonly locks = new Map<string, "alone" | number>()

  constructor(root: DirectoryNode = new DirectoryNode(), journal: Journal = silent) {
    this.root = root
    this.journal = journal
  }

  open(path: string, mode: OpenMode): Handle {
    const { directory, name, node: found } = this.locate(path)
    let node = found
    if (mode === "create") {
      if (node !== undefined) throw new SystemError("EEXIST")
      node = new FileNode()
      this.set([{ directory, name, node }])
    }
    if (node === undefined) throw new SystemError("ENOENT")
    if (node instanceof DirectoryNode) throw new SystemError("EISDIR")
    return { path, file: node, mode, closed: false }
  }

  close(handle: Handle): void {
    handle.closed = true
  }

  read(handle: Handle, buffer: Uint8Array, position: number): number {
    return usable(handle).content.read(buffer, position)
  }

  write(handle: Handle, buffers: ReadonlyArray<Uint8Array>, position: number): void {
    // Where there is nothing to write there is nothing to refuse.
    if (buffers.every((buffer) => buffer.length === 0)) return void usable(handle)
    const file = writable(handle, "EBADF")
    const room = file.content.size + this.freeBytes()
    for (const buffer of buffers) {
      const bytes = position + buffer.length > room
        ? buffer.subarray(0, Math.max(0, room - position))
        : buffer
      if (bytes.length > 0) {
        file.content.write(bytes, position)
        this.journal.wrote(file, bytes, position)
      }
      if (bytes.length < buffer.length) throw new SystemError("ENOSPC")
      position += bytes.length
    }
  }

  sync(handle: Handle): void {
    this.journal.synced(usable(handle))
  }

  /** Syncs the bytes of a file from `from` up to `to`. */
  syncRange(handle: Handle, from: number, to: number): void {
    this.journal.syncedRange(usable(handle), from, to)
  }

  size(handle: Handle): number {
    return usable(handle).content.size
  }

  truncate(handle: Handle, bytes: number): void {
    const file = writable(handle, "EINVAL")
    const from = file.content.size
    if (from === bytes) return
    if (bytes - from > this.freeBytes()) throw new SystemError("ENOSPC")
    file.content.resize(bytes)
    this.journal.resized(file, from, bytes)
  }

  /** Grows the file to `bytes` with zeros; never shortens it. */
  allocate(handle: Handle, bytes: number): void {
    if (usable(handle).content.size >= bytes) return
    writable(handle, "EBADF")
    this.truncate(handle, bytes)
  }

  kind(path: string): Kind {
    try {
      const { node } = this.locate(path)
      return node === undefined ? "missing" : node instanceof FileNode ? "file" : "directory"
    } catch (cause) {
      if (codeOf(cause) === "ENOENT") return "missing"
      throw cause
    }
  }

  list(path: string): ReadonlyArray<string> {
    return [...this.directory(path).entries.keys()].sort()
  }

  makeDirectory(path: string): void {
    const { directory, name, node } = this.locate(path)
    if (node instanceof DirectoryNode) return
    if (node !== undefined) throw new SystemError("EEXIST")
    this.set([{ directory, name, node: new DirectoryNode() }])
  }

  rename(from: string, to: string): void {
    const source = this.locate(from)
    const target = this.locate(to)
    const { node } = source
    if (node === undefined) throw new SystemError("ENOENT")
    if (source.name === "" || target.name === "") throw new SystemError("EBUSY")
    if (node instanceof DirectoryNode && contains(node, target.directory)) throw new SystemError("EINVAL")
    if (target.node instanceof DirectoryNode && contains(target.node, source.directory)) {
      throw new SystemError("ENOTEMPTY")
    }
    if (target.node === node) return
    if (target.node !== undefined) refuseToReplace(node, target.node)
    this.set([{ ...source, node: undefined }, { ...target, node }])
  }

  unlink(path: string): void {
    const { directory, name, node } = this.locate(path)
    if (node === undefined) throw new SystemError("ENOENT")
    if (node instanceof DirectoryNode) throw new SystemError("EISDIR")
    this.set([{ directory, name, node: undefined }])
  }

  syncDirectory(path: string): void {
    this.journal.syncedDirectory(this.directory(path))
  }

  /** Holds a lock file (see `Disk.lock`) and answers how to let go of it; `undefined` while that cannot be. */
  lock(path: string, mode: LockMode): (() => void) | undefined {
    const { directory, name, node } = this.locate(path)
    if (node instanceof DirectoryNode) throw new SystemError("EISDIR")
    const key = parts(path).join("/")
    if (node === undefined && mode === "shared") throw new SystemError("ENOENT")
    const holders = this.locks.get(key) ?? 0
    if (holders === "alone" || (mode === "alone" && holders > 0)) return undefined
    if (node === undefined) this.set([{ directory, name, node: new FileNode() }])
    this.locks.set(key, mode === "alone" ? mode : holders + 1)
    return () => {
      const held = this.locks.get(key)
      if (typeof held === "number" && held > 1) this.locks.set(key, held - 1)
      else this.locks.delete(key)
    }
  }

  /** What files may still grow by, all together. */
  freeBytes(): number {
    if (this.capacityBytes === Infinity) return Number.MAX_SAFE_INTEGER
    let used = 0
    for (const [, file] of this.files()) used += file.content.size
    return Math.max(0, this.capacityBytes - used)
  }

  /** All files by path, in the order of their paths. */
  files(): ReadonlyArray<readonly [path: string, file: FileNode]> {
    const found: Array<readonly [string, FileNode]> = []
    const visit = (directory: DirectoryNode, prefix: string): void => {
      for (const [name, node] of directory.entries) {
        if (node instanceof FileNode) found.push([prefix + name, node])
        else visit(node, `${prefix}${name}/`)
      }
    }
    visit(this.root, "/")
    return found.sort(([a], [b]) => (a < b ? -1 : 1))
  }

  /** What a path leads to. */
  find(path: string): Node | undefined {
    return this.locate(path).node
  }

  private directory(path: string): DirectoryNode {
    const node = this.find(path)
    if (node === undefined) throw new SystemError("ENOENT")
    if (node instanceof FileNode) throw new SystemError("ENOTDIR")
    return node
  }

  /** What a path leads to, and where its last part stands; the root is `""` in itself. */
  private locate(path: string): Entry {
    if (path === "" || path.includes("\0")) throw new SystemError(path === "" ? "ENOENT" : "EINVAL")
    const names = parts(path)
    const name = names.pop()
    let directory = this.root
    for (const part of names) {
      const node = directory.entries.get(part)
      if (node === undefined) throw new SystemError("ENOENT")
      if (node instanceof FileNode) throw new SystemError("ENOTDIR")
      directory = node
    }
    if (name === undefined) return { directory, name: "", node: directory }
    return { directory, name, node: directory.entries.get(name) }
  }

  private set(entries: ReadonlyArray<Entry>): void {
    for (const entry of entries) assign(entry.directory.entries, entry)
    this.journal.renamed(entries)
  }
}

/** Sets an entry in the names of its directory. */
export const assign = (names: Map<string, Node>, entry: Entry): void => {
  if (entry.node === undefined) names.delete(entry.name)
  else names.set(entry.name, entry.node)
}

const usable = (handle: Handle): FileNode => {
  if (handle.closed) throw new SystemError("EBADF")
  return handle.file
}

const writable = (handle: Handle, code: string): FileNode => {
  const file = usable(handle)
  if (handle.mode === "readOnly") throw new SystemError(code)
  return file
}

/** Relative and absolute paths are the same here: there is one root and no working directory. */
const parts = (path: string): Array<string> => {
  const names: Array<string> = []
  for (const part of path.split("/")) {
    if (part === "..") names.pop()
    else if (part !== "" && part !== ".") names.push(part)
  }
  return names
}

const contains = (directory: DirectoryNode, other: DirectoryNode): boolean => {
  if (directory === other) return true
  for (const node of directory.entries.values()) {
    if (node instanceof DirectoryNode && contains(node, other)) return true
  }
  return false
}

const refuseToReplace = (node: Node, replaced: Node): void => {
  if (replaced instanceof FileNode) {
    if (node instanceof DirectoryNode) throw new SystemError("ENOTDIR")
  } else if (node instanceof FileNode) throw new SystemError("EISDIR")
  else if (replaced.entries.size > 0) throw new SystemError("ENOTEMPTY")
}
