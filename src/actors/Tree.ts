/**
 * The tree's owner: applies the log to the pages, in the order of the log.
 *
 * The Wal hands it every record on its own stack; where a page is missing or memory is short it parks what comes until
 * the Buffer has helped, and the visible LSN waits with it. A cut passes through the same queue, so that it sees
 * exactly the records below it.
 *
 * ```
 *            apply                      page missing, no room
 *   Ready ───────────▶ visible += record ─────────────────────▶ Parked ── resume ──▶ Ready
 * ```
 *
 * I1 Records are applied in LSN order, each exactly once; those of a sweep as if they were (`Sweep.ts`).
 * I2 The visible LSN passes a record only when all of its writes are applied.
 *
 * It has no mailbox: the Wal's is the one before it, and its parked records count against that (see `Machine.ts`).
 */
import * as Exit from "effect/Exit"
import { invariant } from "../Invariant.ts"
import type { Cut } from "../log/Group.ts"
import type { OpenStreams } from "../log/Pieces.ts"
import { Op, RecordType } from "../log/Record.ts"
import { decodeDefinition } from "../log/RecordForm.ts"
import { RecordReader } from "../log/RecordReader.ts"
import type { StoreError } from "../StoreError.ts"
import type { Beside, CutImage } from "../tree/file/Catalog.ts"
import type { Generation, Generations } from "../tree/Generations.ts"
import { isNumeric } from "../tree/page/Fold.ts"
import { writeReference } from "../tree/page/Reference.ts"
import { ValueAt } from "../tree/page/ValueIn.ts"
import type { Tree as Kernel } from "../tree/Tree.ts"
import { Absent, Kind, Missing, NoSpace } from "../tree/Tree.ts"
import { Charges } from "./apply/Charges.ts"
import { Sequences } from "./apply/Sequences.ts"
import type { Options as SliceOptions } from "./apply/Slices.ts"
import { Slices } from "./apply/Slices.ts"
import type { Sweep } from "./apply/Sweep.ts"
import type { Reply } from "./loop/Actor.ts"

export interface Options {
  readonly kernel: Kernel
  readonly generations: Generations
  /** Everything below is in the tree already. */
  readonly visible: number
  /** Has a page loaded: true where it is there already, otherwise `resume` is called when it is. */
  readonly load: (pageId: number) => boolean
  /** Has blocks freed beside a page that stays; `resume` is called when they are. */
  readonly reserve: (blocks: number, beside: number) => void
  /** Base of the segment that holds an LSN. */
  readonly segmentBase: (lsn: number) => number
  /** The streams of pieces in the log. */
  readonly streams: OpenStreams
  readonly slices: SliceOptions
}

/** Something that waits its turn: a record, as a copy of its bytes, or a cut. */
type Parked =
  | { readonly _tag: "Record"; readonly bytes: Buffer; readonly lsn: number; applied: number }
  | { readonly _tag: "Cut"; readonly cut: Cut; readonly beside: Beside }
  | { readonly _tag: "Slices"; readonly slices: Slices }
  | { readonly _tag: "Sweep"; readonly sweep: Sweep }

export class Tree {
  visibleLsn: number
  /** Records and writes applied, and records that had to wait, since the store was opened. */
  readonly counters = { records: 0, writes: 0, parked: 0 }
  /** Whether what is applied now had to wait. */
  resuming = false
  /** Records applied since the last cut. */
  recordsSinceCut = 0
  /** Bytes of records that wait, and of the piece that is applied. */
  parkedBytes = 0
  private sliceBytes = 0
  /** Told whenever the visible LSN has moved. */
  progress: () => void = () => {}
  readonly charges: Charges
  private readonly options: Options
  private readonly parked: Array<Parked> = []
  private readonly scratch = new RecordReader()
  /** The value that is put: where it lies in the log. */
  private readonly value = new ValueAt()
  private readonly sequences: Sequences
  private readonly applyOne = (reader: RecordReader): boolean => this.runOne(reader)
  private readonly applyMany = (reader: RecordReader): number => this.runMany(reader)
  /** LSN and time of the commit whose writes are applied now. */
  private version = 0
  private millis = 0
  private halted: StoreError | undefined
  private cutImage: CutImage | undefined
  private drainReply: Reply<CutImage, StoreError> | undefined
  private idleReply: Reply<void, StoreError> | undefined

  constructor(options: Options) {
    this.options = options
    this.charges = new Charges(options)
    this.sequences = new Sequences(options)
    this.visibleLsn = options.visible
  }

  /** Records and cuts that wait. */
  get backlog(): number {
    return this.parked.length
  }

  /** Applies the record that `reader` is at, or parks it behind those that wait. */
  apply(reader: RecordReader): void {
    if (reader.type === RecordType.commit) return this.begin(reader)
    if (reader.type === RecordType.piece || reader.type === RecordType.abort) return this.pass(reader)
    if (this.parked.length > 0) return this.park(reader, 0)
    const applied = this.run(reader, 0)
    if (applied < 0) this.moved(reader)
    else this.park(reader, applied)
  }

  /** A piece changes nothing yet, and what was aborted never will: behind records that wait, neither is looked at. */
  private pass(reader: RecordReader): void {
    if (reader.type === RecordType.abort) this.options.streams.end(reader.streamFirst)
    if (this.parked.length === 0) this.moved(reader)
  }

  /** The commit of a stream: its pieces are applied from here on. */
  private begin(reader: RecordReader): void {
    const { slices: options, streams } = this.options
    const pieces = streams.end(reader.streamFirst)
    invariant(pieces !== undefined, "Tree I1: the pieces of a commit")
    const slices = new Slices(options, pieces, reader)
    this.wait(reader.lsn, { _tag: "Slices", slices })
    // Not in this turn: whoever commits has applied nothing yet, and may be in the middle of a batch.
    if (this.parked.length === 1) slices.pause()
  }

  /** Applies what a sweep has gathered; nothing waits before it. */
  sweep(sweep: Sweep): void {
    this.wait(sweep.gathered.lsn, { _tag: "Sweep", sweep })
    this.resume()
  }

  private swept(sweep: Sweep): boolean {
    const { end, millis, records } = sweep.gathered
    this.millis = millis
    const done = sweep.next((reader, version) => {
      this.version = version
      return this.runOne(reader)
    }, () => this.options.slices.pause(() => {}))
    if (done) this.passed(end, records)
    return done
  }

  private slice(slices: Slices): boolean {
    this.version = slices.lsn
    this.millis = slices.millis
    const done = slices.next(this.applyOne, this.applyMany)
    this.parkedBytes += slices.heldBytes - this.sliceBytes
    this.sliceBytes = slices.heldBytes
    if (done) this.passed(slices.end)
    return done
  }

  /** Takes the state at a cut as soon as everything below it is applied; `drained` hands it out. */
  cut(cut: Cut, beside: Beside): void {
    if (this.parked.length > 0) this.parked.push({ _tag: "Cut", cut, beside })
    else this.take(cut, beside)
  }

  /** Replies with the image of the cut that was asked for last. */
  drained(reply: Reply<CutImage, StoreError>): void {
    if (this.halted !== undefined) return reply(Exit.fail(this.halted))
    this.drainReply = reply
    this.handOut()
  }

  /** Replies as soon as nothing waits, to whoever asked last. */
  idle(reply: Reply<void, StoreError>): void {
    if (this.halted !== undefined) return reply(Exit.fail(this.halted))
    if (this.parked.length === 0) return reply(Exit.void)
    this.idleReply = reply
  }

  /** Goes on where a missing page or a lack of room stopped it. */
  resume(): void {
    this.resuming = true
    while (this.parked.length > 0 && this.next(this.parked[0] as Parked)) {
      const done = this.parked.shift()
      if (done?._tag === "Record") this.parkedBytes -= done.bytes.length
    }
    this.resuming = false
    if (this.parked.length === 0) this.answerIdle(Exit.void)
  }

  private answerIdle(exit: Exit.Exit<void, StoreError>): void {
    const reply = this.idleReply
    this.idleReply = undefined
    reply?.(exit)
  }

  halt(error: StoreError): void {
    this.halted = error
    this.parked.length = 0
    this.parkedBytes = this.sliceBytes = 0
    this.drainReply?.(Exit.fail(error))
    this.drainReply = undefined
    this.answerIdle(Exit.fail(error))
  }

  /** Frees about `pages` pages of a dropped tree; answers a page that must be loaded first, or 0. */
  freeSlice(pages: number): number {
    const { generations: { dropping }, kernel } = this.options
    if (dropping.length === 0) return 0
    const answer = kernel.freeTree(dropping[0] as number, pages)
    if (answer === Missing) return kernel.missing
    if (answer === Absent) dropping.shift()
    return 0
  }

  private next(parked: Parked): boolean {
    if (parked._tag === "Cut") {
      this.take(parked.cut, parked.beside)
      return true
    }
    if (parked._tag === "Slices") return this.slice(parked.slices)
    if (parked._tag === "Sweep") return this.swept(parked.sweep)
    const reader = this.scratch.open(parked.bytes, 0, parked.bytes.length, parked.lsn, 1)
    invariant(reader.nextRecord(), "Tree I1")
    const applied = this.run(reader, parked.applied)
    if (applied < 0) this.moved(reader)
    else parked.applied = applied
    return applied < 0
  }

  private park(reader: RecordReader, applied: number): void {
    const bytes = Buffer.from(reader.bytes.subarray(reader.recordStart, reader.recordEnd))
    this.wait(reader.lsn, { _tag: "Record", bytes, lsn: reader.lsn, applied })
    this.parkedBytes += bytes.length
    this.counters.parked++
  }

  private wait(lsn: number, parked: Parked): void {
    // All below the first that waits is applied. The end of the last record would be less: groups without records lie
    // between them, and readers have been shown those.
    if (this.parked.length === 0) this.visibleLsn = lsn
    this.parked.push(parked)
  }

  private moved(reader: RecordReader): void {
    this.passed(reader.lsn + (reader.recordEnd - reader.recordStart))
  }

  private passed(end: number, records = 1): void {
    if (this.options.kernel.versions.dropped.length > 0) this.charges.settle()
    invariant(end > this.visibleLsn, "Tree I1")
    this.visibleLsn = end
    this.counters.records += records
    this.recordsSinceCut += records
    this.progress()
  }

  /** Applies the writes of a record from number `from` on; answers -1, or the number of the one that must wait. */
  private run(reader: RecordReader, from: number): number {
    this.version = reader.lsn
    this.millis = reader.millis
    for (let index = 0;; index++) {
      if (index >= from) index += this.runMany(reader)
      if (!reader.nextWrite()) break
      if (index >= from && !this.runOne(reader)) return index
    }
    invariant(reader.fault === undefined, "Tree I1")
    return -1
  }

  /** Applies what comes next and is a sequence; answers how many writes. */
  private runMany(reader: RecordReader): number {
    this.options.generations.millis = this.millis
    const applied = this.sequences.apply(reader, this.version)
    this.counters.writes += applied
    return applied
  }

  /** Applies the write that `reader` is at; false where it must wait, and what it waits for has been asked for. */
  private runOne(reader: RecordReader): boolean {
    const { kernel, load, reserve } = this.options
    let answer = this.write(reader)
    while (answer === Missing && load(kernel.missing)) answer = this.write(reader)
    if (answer === NoSpace) reserve(kernel.blocksNeeded, kernel.leafNeeded)
    if (answer < 0) return false
    this.counters.writes++
    return true
  }

  private write(reader: RecordReader): number {
    const { generations, kernel } = this.options
    generations.millis = this.millis
    switch (reader.op) {
      case Op.put: {
        const generation = generations.get(reader.keyspace)
        // A number takes less room in its leaf than a reference to it, and must be there to be folded.
        const leaves = reader.large && !isNumeric(generation.reducer)
        if (leaves) return this.putLarge(generation, reader)
        const { root } = generation
        this.loadKey(reader)
        const value = this.value.of(
          reader.words,
          reader.valueStart >>> 2,
          reader.valueEnd - reader.valueStart
        )
        return kernel.putLoaded(root, Kind.Value, value, this.version, reader.expiryMillis)
      }
      case Op.remove:
        this.loadKey(reader)
        return kernel.removeLoaded(generations.get(reader.keyspace).root, this.version)
      case Op.merge: {
        const { root } = generations.get(reader.keyspace)
        invariant(reader.reducer !== 0 && reader.reducer === root.reducer, "Tree I1: a keyspace's reducer")
        const operand = reader.bytes.subarray(reader.valueStart, reader.valueEnd)
        this.loadKey(reader)
        return kernel.reduceLoaded(root, operand, this.version, this.millis)
      }
      case Op.relocate:
        return this.charges.relocate(reader)
      case Op.createKeyspace:
        return this.create(reader)
      case Op.clear:
        return this.clear(reader)
      case Op.discard:
        // Told already, by what is left of the stream.
        return Absent
      case Op.dropKeyspace:
        generations.end(generations.get(reader.keyspace), this.version)
        return Absent
      case Op.openSession:
      case Op.endSession:
        // No page has them: the Wal knows them as of the end of the log, and recovery before it.
        return Absent
      default:
        invariant(false, `Tree I1: operation ${reader.op}`)
    }
  }

  private loadKey(reader: RecordReader): void {
    const { key } = this.options.kernel
    key.loadWords(reader.words, reader.keyStart >>> 2, reader.keyEnd - reader.keyStart)
  }

  /** Writes a reference to a value that stays in the log. */
  private putLarge(generation: Generation, reader: RecordReader): number {
    const { kernel } = this.options
    const bytes = reader.valueEnd - reader.valueStart
    const key = reader.bytes.subarray(reader.keyStart, reader.keyEnd)
    const reference = writeReference({ lsn: reader.valueLsn, bytes, checksum: reader.valueChecksum | 0 })
    const { root } = generation
    const answer = kernel.put(root, key, Kind.Reference, reference, this.version, reader.expiryMillis)
    if (answer >= 0) this.charges.add(generation, reader)
    return answer
  }

  private create(reader: RecordReader): number {
    const { generations, kernel } = this.options
    const decoded = decodeDefinition(reader.bytes.subarray(reader.valueStart, reader.valueEnd))
    invariant(decoded._tag === "Valid", "Tree I1: a keyspace's definition")
    const root = kernel.create(generations.nextTreeId, decoded.definition.reducer)
    if (root === undefined) return NoSpace
    const name = reader.bytes.toString("utf8", reader.keyStart, reader.keyEnd)
    generations.begin({
      ...decoded.definition,
      keyspaceId: reader.keyspace,
      name,
      root,
      from: this.version,
      until: Infinity,
      large: new Map()
    })
    return Absent
  }

  private clear(reader: RecordReader): number {
    const { generations, kernel } = this.options
    const older = generations.get(reader.keyspace)
    const root = kernel.create(generations.nextTreeId, older.reducer)
    if (root === undefined) return NoSpace
    generations.end(older, this.version)
    generations.begin({ ...older, root, from: this.version, until: Infinity, large: new Map() })
    return Absent
  }

  private take(cut: Cut, beside: Beside): void {
    this.recordsSinceCut = 0
    const { generations, kernel } = this.options
    const catalog = generations.catalog(this.charges.past(), beside)
    this.cutImage = { cut, catalog, pages: kernel.pages.cut() }
    this.handOut()
  }

  private handOut(): void {
    const { cutImage, drainReply } = this
    if (cutImage === undefined || drainReply === undefined) return
    this.cutImage = undefined
    this.drainReply = undefined
    drainReply(Exit.succeed(cutImage))
  }
}
