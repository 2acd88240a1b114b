/**
 * The raw doors of a keyspace of bytes: for hot loops that cannot pay for an Effect per record.
 *
 * Everything here happens in the calling thread, outside any boundary: reads see the newest visible commits (two reads
 * may see two states) without what has expired by the time of the call, a page that is not in memory is read from the
 * disk at once and counted, and each write is a blind transaction of its own, appended before the call returns and
 * durable some milliseconds later, or when `awaitDurableUnsafe` or `Store.awaitDurable` says so. All of them throw
 * `StoreError`.
 *
 * I1 A write is appended whole or refused (`Overloaded`); it never waits. What waits for the Wal is handled before it,
 *    on the caller's stack; whoever that is for goes on later.
 */
import * as Exit from "effect/Exit"
import { crc32 } from "node:zlib"
import type { KeyspaceIntent } from "./actors/commit/Intent.ts"
import type { Message } from "./actors/Wal.ts"
import { checkLsn } from "./Given.ts"
import type { Declared, Machine } from "./Machine.ts"
import { Corrupted, LimitExceeded, Overloaded, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"
import type { Generation } from "./tree/Generations.ts"
import type { Purpose } from "./tree/memory/Events.ts"
import type { Reference } from "./tree/page/Reference.ts"
import { Batch } from "./tree/read/Cursor.ts"
import type { Range } from "./tree/read/Cursor.ts"
import { Many } from "./tree/read/Many.ts"
import type { Root } from "./tree/Tree.ts"
import { Found, Missing } from "./tree/Tree.ts"

/** One write of a batch; a value of `undefined` removes. */
export interface RawWrite {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
}

/** Doors to one keyspace. */
export interface Raw {
  /** A copy of the value; `undefined` where there is none. */
  readonly getUnsafe: (key: Uint8Array) => Uint8Array | undefined
  /** Copies the value into `target` from `offset` on; answers its length, -1 where there is none. */
  readonly getIntoUnsafe: (key: Uint8Array, target: Uint8Array, offset: number) => number
  /** Copies of the values, in the order of the keys; `undefined` where there is none. A missing page is read once. */
  readonly getManyUnsafe: (keys: ReadonlyArray<Uint8Array>) => Array<Uint8Array | undefined>
  /**
   * Fills `many` with the answers to all keys, in their order and packed: no allocation per record. Large values are
   * fetched into it too.
   */
  readonly getManyIntoUnsafe: (keys: ReadonlyArray<Uint8Array>, many: Many) => void
  /** Fills `batch` with the next records of a range, from where the batch ended last; false when there are no more. */
  readonly scanUnsafe: (range: Range, batch: Batch) => boolean
  /** Answers the LSN. */
  readonly putUnsafe: (key: Uint8Array, value: Uint8Array) => number
  readonly removeUnsafe: (key: Uint8Array) => number
  /** All of them in one transaction. */
  readonly batchUnsafe: (writes: ReadonlyArray<RawWrite>) => number
  /**
   * Resolves when everything below `lsn` survives a power cut: ask for one more than a write answered. Rejects with
   * `StoreError`. Who waits for the same sync is given the same promise.
   */
  readonly awaitDurableUnsafe: (lsn: number) => Promise<void>
}

export { Batch, Many }
export type { Range }

/** Opens the raw doors of a keyspace. */
export const make = (machine: Machine, keyspace: Declared): Raw => new Doors(machine, keyspace)

class Doors implements Raw {
  private readonly machine: Machine
  private readonly keyspace: Declared
  private lsn = 0
  private refusal: StoreError | undefined
  /** One intent and one message serve all writes: nothing is kept of them once the call returns. */
  private writes: ReadonlyArray<RawWrite> = []
  private readonly message: Message
  /** What was read last: to look it up by its name takes a tenth of a get. */
  private seen: Generation | undefined
  private readonly single: { key: Uint8Array; value: Uint8Array | undefined } = {
    key: nothing,
    value: undefined
  }
  private readonly many = new Many()
  private readonly singles: ReadonlyArray<RawWrite> = [this.single]

  constructor(machine: Machine, keyspace: Declared) {
    this.machine = machine
    this.keyspace = keyspace
    const intent: KeyspaceIntent = {
      name: keyspace.name,
      layout: keyspace.layout,
      cleared: false,
      dropped: false,
      writes: () => this.writes
    }
    const intents = [intent]
    this.message = {
      _tag: "Commit",
      intent: {
        keyspaces: () => intents,
        durability: "memory",
        appended: (lsn) => {
          this.lsn = lsn
        }
      },
      // Refused at once, or appended: what becomes of it later, `Store.awaitDurable` tells.
      done: (exit) => {
        if (Exit.isSuccess(exit)) return
        const failure = Exit.findErrorOption(exit)
        if (failure._tag === "Some") this.refusal = failure.value
      }
    }
  }

  readonly getUnsafe = (key: Uint8Array): Uint8Array | undefined => {
    const { tree } = this.machine
    if (!this.find(key)) return undefined
    const reference = tree.foundReference()
    return reference === undefined ? tree.value() : this.fetch(reference)
  }

  readonly getIntoUnsafe = (key: Uint8Array, target: Uint8Array, offset: number): number => {
    const { tree } = this.machine
    if (!this.find(key)) return -1
    const reference = tree.foundReference()
    if (reference === undefined) return tree.valueInto(target, offset)
    target.set(this.fetch(reference), offset)
    return reference.bytes
  }

  readonly getManyUnsafe = (keys: ReadonlyArray<Uint8Array>): Array<Uint8Array | undefined> => {
    const { many } = this
    this.findMany(keys, many)
    const values: Array<Uint8Array | undefined> = []
    for (let index = 0; index < keys.length; index++) {
      const reference = many.reference(index)
      values.push(reference === undefined ? many.value(index) : this.fetch(reference))
    }
    return values
  }

  readonly getManyIntoUnsafe = (keys: ReadonlyArray<Uint8Array>, many: Many): void => {
    this.findMany(keys, many)
    for (let index = 0; index < keys.length; index++) {
      const reference = many.reference(index)
      if (reference !== undefined) many.resolve(index, this.fetch(reference))
    }
  }

  readonly scanUnsafe = (range: Range, batch: Batch): boolean => {
    const { machine } = this
    const at = machine.visible()
    const root = this.root(at)
    if (root === undefined) return false
    batch.now = this.nowOf(root)
    while (!batch.ended) {
      const { position } = batch
      batch.reset()
      batch.position = position
      while (machine.tree.scan(root, range, at, batch) === Missing) {
        this.load(machine.tree.missing, "scan")
      }
      // A pull may pass over many leaves in which nothing is to be seen.
      if (batch.count > 0) return true
    }
    return false
  }

  readonly putUnsafe = (key: Uint8Array, value: Uint8Array): number => {
    this.single.key = key
    this.single.value = value
    return this.commit(this.singles)
  }

  readonly removeUnsafe = (key: Uint8Array): number => {
    this.single.key = key
    this.single.value = undefined
    return this.commit(this.singles)
  }

  readonly batchUnsafe = (writes: ReadonlyArray<RawWrite>): number => this.commit(writes)

  readonly awaitDurableUnsafe = (lsn: number): Promise<void> => {
    const failure = this.machine.unavailable()
    return failure === undefined ? this.machine.promiseDurable(checkLsn(lsn)) : Promise.reject(failure)
  }

  private commit(writes: ReadonlyArray<RawWrite>): number {
    const { limits, parts: { wal } } = this.machine
    this.checkWritable()
    for (const { key, value } of writes) {
      if (!(key instanceof Uint8Array) || (value !== undefined && !(value instanceof Uint8Array))) {
        throw noBytes()
      }
      if (key.length > limits.keyBytes) throw exceeded("keyBytes", key.length, limits.keyBytes)
      const bytes = value?.length ?? 0
      if (bytes > limits.valueBytes) throw exceeded("valueBytes", bytes, limits.valueBytes)
    }
    for (let rounds = 0; !this.handOver(writes); rounds++) {
      if (rounds === mostRounds || !wal.drain()) {
        throw storeError(new Overloaded({ actor: "wal", waits: this.awaited() }))
      }
      this.checkWritable()
    }
    this.checkWritable()
    if (this.refusal !== undefined) throw this.refusal
    return this.lsn
  }

  /** False where the write would have to wait. */
  private handOver(writes: ReadonlyArray<RawWrite>): boolean {
    const { machine, machine: { parts: { wal } } } = this
    this.writes = writes
    this.lsn = machine.visible()
    this.refusal = undefined
    return wal.ready() && wal.inline(this.message)
  }

  /** What a write would have to wait for. */
  private awaited(): string {
    const { limits, parts: { tail, treeActor } } = this.machine
    if (tail.end - tail.durableLsn > limits.undurableBytes) {
      return `the sync of ${tail.end - tail.durableLsn} bytes of log, which are more than undurableBytes`
    }
    if (treeActor.backlog > 0) return `room or pages for ${treeActor.backlog} records that came before it`
    return "what came before it, or a checkpoint"
  }

  private check(): void {
    const failure = this.machine.unavailable()
    if (failure !== undefined) throw failure
  }

  private checkWritable(): void {
    const failure = this.machine.unwritable()
    if (failure !== undefined) throw failure
  }

  private find(key: Uint8Array): boolean {
    const { machine } = this
    const at = machine.visible()
    const root = this.root(at)
    if (root === undefined) return false
    let answer = machine.tree.get(root, key, at)
    while (answer === Missing) {
      this.load(machine.tree.missing, "read")
      answer = machine.tree.get(root, key, at)
    }
    return answer === Found && (!root.expires || machine.tree.foundExpiry() > machine.now())
  }

  /** Looks up all keys; those that miss a page as soon as it is here, so that nothing can evict it before. */
  private findMany(keys: ReadonlyArray<Uint8Array>, many: Many): void {
    const { tree } = this.machine
    const at = this.machine.visible()
    const root = this.root(at)
    many.begin(keys.length, "keys and values")
    if (root === undefined) return
    many.now = this.nowOf(root)
    tree.getMany(root, keys, at, many)
    while (many.misses) {
      const missing = many.takeMissing()
      for (let place = 0; place < missing.count; place++) {
        const pageId = missing.pageIds[place] as number
        // Making room for one page may have loaded another, or merged it away.
        if (tree.pages.map.isUsed(pageId)) this.load(pageId, "read")
        many.ask(place)
        tree.getMany(root, keys, at, many)
      }
    }
  }

  private root(at: number): Root | undefined {
    this.check()
    const { keyspace, machine, seen } = this
    if (seen !== undefined && seen.from < at && at <= seen.until) return seen.root
    const root = machine.root(keyspace, at)
    if (!Exit.isExit(root)) {
      this.seen = machine.parts.generations.find(keyspace.name, at)
      return root
    }
    if (Exit.isSuccess(root)) return undefined
    const failure = Exit.findErrorOption(root)
    throw failure._tag === "Some" ? failure.value : root.cause
  }

  /** The time for a call; where nothing expires, none has to be known. */
  private nowOf(root: Root): number {
    return root.expires ? this.machine.now() : -Infinity
  }

  private load(pageId: number, purpose: Purpose): void {
    const { parts: { buffer } } = this.machine
    if (!buffer.loadNow(pageId, purpose)) {
      throw storeError(new Overloaded({ actor: "buffer", waits: "room for a page" }))
    }
  }

  private fetch({ bytes, checksum, lsn }: Reference): Uint8Array {
    const { segments, tail } = this.machine.parts
    this.machine.tree.answeredBytes += bytes
    const view = tail.read(lsn, bytes)
    if (view !== undefined) return Uint8Array.from(view)
    const value = segments.readNow(lsn, bytes)
    if (value !== undefined && (crc32(value) | 0) === checksum) return value
    throw storeError(
      new Corrupted({
        path: "the log",
        offset: segments.placeOf(lsn)?.offset ?? 0,
        expected: `a value with checksum ${checksum >>> 0}`,
        actual: value === undefined ? "the end of the file" : String(crc32(value))
      })
    )
  }
}

const nothing = new Uint8Array(0)

/** Times that a write has what waits before it handled: what is handled may make the Wal ask itself for something. */
const mostRounds = 8

const exceeded = (limit: string, actual: number, maximum: number) =>
  storeError(new LimitExceeded({ limit, actual, maximum }))

/** A program without types would store garbage, or stop the Wal in the middle of a group. */
const noBytes = (): TypeError =>
  new TypeError("keys are Uint8Arrays, and so are values but for undefined, which removes")
