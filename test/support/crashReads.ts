/**
 * What an opening reads of an image, and which images read alike.
 *
 * Opening, reading everything, and opening again ask nothing but the disk: names, lengths, and the bytes that they read.
 * Two images of which all of that is equal come to the same, whatever else differs between them: slots that no checkpoint
 * refers to, files that are worthless. The openings of a run are kept as a tree, a read in each node and an answer on
 * each branch; an image is led down by its own bytes, and where it reaches an end it need not be opened.
 *
 * I1 What an opening has written itself is no answer of the image, and is left out of its reads. What it wrote and did
 *    not sync is the image's again after a power cut.
 * I2 Openings whose reads were answered alike ask for the same next: an opening draws from a seed alone.
 */
import * as Effect from "effect/Effect"
import { hash } from "node:crypto"
import type { Content } from "../../src/disk/Content.ts"
import type { Disk, DiskFile } from "../../src/disk/Disk.ts"
import type { Image } from "../../src/disk/FaultDisk.ts"

/** Ascending, apart from each other: from, until. */
type Ranges = ReadonlyArray<readonly [number, number]>

const add = (ranges: Ranges, from: number, until: number): Ranges => {
  const apart = ranges.filter(([begin, end]) => end < from || begin > until)
  const touching = ranges.filter(([begin, end]) => end >= from && begin <= until)
  const first = Math.min(from, ...touching.map(([begin]) => begin))
  const last = Math.max(until, ...touching.map(([, end]) => end))
  return [...apart, [first, last] as const].sort(([a], [b]) => a - b)
}

/** A file of the image, or one that the opening made. */
interface Tracked {
  /** Its path in the image; undefined where it is new. */
  readonly path: string | undefined
  written: Ranges
  synced: Ranges
}

interface Read {
  readonly path: string
  readonly from: number
  readonly until: number
  readonly without: Ranges
}

/** What an image answers to a read. */
const answerOf = (files: ReadonlyMap<string, Content>, { from, path, until, without }: Read): string => {
  const bytes = Buffer.alloc(until - from)
  files.get(path)?.read(bytes, from)
  for (const [begin, end] of without) bytes.fill(0, Math.max(0, begin - from), Math.min(end, until) - from)
  return hash("sha1", bytes, "base64")
}

const nameOf = ({ from, path, until, without }: Read): string =>
  `${path} ${from} ${until} ${without.join(" ")}`

/** Takes down what one opening reads, and all that follow it on the same disk. */
export class Reading {
  readonly reads: Array<readonly [read: Read, answer: string]> = []
  readonly files: ReadonlyMap<string, Content>
  private readonly known = new Set<string>()
  private names: Map<string, Tracked>
  private durable: Map<string, Tracked>

  constructor(image: Image) {
    this.files = image.contents()
    const tracked = ([path]: readonly [string, Content]) => [path, { path, written: [], synced: [] }] as const
    this.names = new Map([...this.files].map(tracked))
    this.durable = new Map(this.names)
  }

  /** The power is cut, and nothing survives that was not synced. */
  cut(): void {
    this.names = new Map(this.durable)
    for (const file of this.names.values()) file.written = file.synced
  }

  /** Bytes of the file that now has this path are looked at. */
  look(path: string, from: number, until: number): void {
    const file = this.names.get(path)
    if (file !== undefined) this.note(file, from, until)
  }

  private note({ path, written }: Tracked, from: number, until: number): void {
    const end = Math.min(until, this.files.get(path ?? "")?.size ?? 0)
    if (path === undefined || end <= from) return
    if (written.some((range) => range[0] <= from && range[1] >= end)) return
    const without = written.filter((range) => range[0] < end && range[1] > from)
    const read = { path, from, until: end, without }
    const name = nameOf(read)
    if (this.known.has(name)) return
    this.known.add(name)
    this.reads.push([read, answerOf(this.files, read)])
  }

  private renamed(from: string, to: string): void {
    const file = this.names.get(from)
    this.names.delete(from)
    if (file !== undefined) this.names.set(to, file)
  }

  /** The disk, watched. */
  disk(disk: Disk["Service"]): Disk["Service"] {
    const after = <A, E>(effect: Effect.Effect<A, E>, act: () => void) =>
      Effect.tap(effect, () => Effect.sync(act))
    return {
      ...disk,
      open: (path, options) =>
        Effect.map(disk.open(path, options), (file) => {
          const fresh: Tracked = { path: undefined, written: [], synced: [] }
          const tracked = options.mode === "create" ? fresh : this.names.get(path) ?? fresh
          this.names.set(path, tracked)
          return this.file(file, tracked)
        }),
      rename: (from, to) => after(disk.rename(from, to), () => this.renamed(from, to)),
      unlink: (path) => after(disk.unlink(path), () => void this.names.delete(path)),
      syncDirectory: (path) =>
        after(disk.syncDirectory(path), () => {
          this.durable = new Map(this.names)
        })
    }
  }

  private file(inner: DiskFile, file: Tracked): DiskFile {
    const endOf = (buffers: ReadonlyArray<Uint8Array>, position: number): number =>
      buffers.reduce((end, { length }) => end + length, position)
    const write = (buffers: ReadonlyArray<Uint8Array>, position: number): void => {
      file.written = add(file.written, position, endOf(buffers, position))
    }
    const durable = (buffers: ReadonlyArray<Uint8Array>, position: number): void => {
      write(buffers, position)
      file.synced = add(file.synced, position, endOf(buffers, position))
    }
    const synced = (): void => {
      file.synced = file.written
    }
    return {
      ...inner,
      read: (buffer, position) => {
        this.note(file, position, position + buffer.length)
        return inner.read(buffer, position)
      },
      readSync: (buffer, position) => {
        this.note(file, position, position + buffer.length)
        return inner.readSync(buffer, position)
      },
      write: (buffers, position) =>
        Effect.tap(inner.write(buffers, position), () => Effect.sync(() => write(buffers, position))),
      writeSync: (buffers, position) => {
        inner.writeSync(buffers, position)
        write(buffers, position)
      },
      sync: Effect.tap(inner.sync, () => Effect.sync(synced)),
      syncSync: () => {
        inner.syncSync()
        synced()
      },
      writeDurably: (buffers, position) =>
        Effect.tap(
          inner.writeDurably(buffers, position),
          () => Effect.sync(() => durable(buffers, position))
        ),
      writeDurablySync: (buffers, position) => {
        inner.writeDurablySync(buffers, position)
        durable(buffers, position)
      },
      allocate: (bytes) => Effect.tap(inner.allocate(bytes), () => Effect.sync(synced)),
      truncate: (bytes) =>
        Effect.tap(inner.truncate(bytes), () =>
          Effect.sync(() => {
            file.written = add(file.written, bytes, Infinity)
          }))
    }
  }
}

/** A read and where its answers lead; or the end, and what came of it. */
type Node<A> =
  | { readonly _tag: "Read"; readonly read: Read; readonly name: string; readonly next: Map<string, Node<A>> }
  | { readonly _tag: "End"; readonly outcome: A }

export class ReadTree<A> {
  private readonly roots = new Map<string, Node<A>>()

  /** What came of an image that reads like this one; undefined where none was opened. */
  find(image: Image): A | undefined {
    const files = image.contents()
    let node = this.roots.get(listing(files))
    while (node?._tag === "Read") node = node.next.get(answerOf(files, node.read))
    return node?.outcome
  }

  /** Remembers an opening. Throws where it asked for something else than one that was answered alike (I2). */
  add({ files, reads }: Reading, outcome: A): void {
    let [next, answer] = [this.roots, listing(files)]
    for (const [read, own] of reads) {
      const name = nameOf(read)
      const node = next.get(answer) ?? { _tag: "Read", read, name, next: new Map() }
      if (node._tag !== "Read" || node.name !== name) {
        throw new Error(`an opening asks for ${name} all of a sudden`)
      }
      next.set(answer, node)
      ;[next, answer] = [node.next, own]
    }
    if (next.get(answer)?._tag === "Read") throw new Error("an opening ends all of a sudden")
    next.set(answer, { _tag: "End", outcome })
  }
}

const listing = (files: ReadonlyMap<string, Content>): string => {
  let names = ""
  for (const [path, { size }] of files) names += `${path} ${size}\n`
  return names
}
