/**
 * A body under way: what a transaction reads through and what it writes into.
 *
 * It sees its snapshot with its own writes over it. Whatever it reads of the store is noted, as a commit is valid only
 * if nothing of that was written since.
 *
 * I1 Nothing passes through here once the body has ended, whoever still holds it.
 * I2 What is read of the store, and not of the own writes, is in the read set before the body hears of it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { ReadSet } from "./actors/commit/ReadSet.ts"
import type { Durability } from "./Limits.ts"
import type { Declared, Machine } from "./Machine.ts"
import { foldedRow, overlay, rowOf } from "./Overlay.ts"
import { Merges } from "./own/Merges.ts"
import type { How, Merging } from "./own/Merges.ts"
import { cover, OwnView } from "./own/OwnView.ts"
import { Streamed } from "./own/Streamed.ts"
import type { Columns, Looked, Range, Row, Scan } from "./Row.ts"
import { isHere, later } from "./Row.ts"
import type { StoreError } from "./StoreError.ts"
import { LayoutMismatch, LimitExceeded, storeError } from "./StoreError.ts"
import type { View } from "./View.ts"
import { ended } from "./View.ts"
import type { Write } from "./WriteSet.ts"
import { writeOverheadBytes, WriteSet } from "./WriteSet.ts"

export class Running {
  readonly at: number
  readonly now: number
  readonly writes = new WriteSet()
  /** What of them is in the log already, if anything is. */
  streamed: Streamed | undefined
  private readonly own = new OwnView(this)
  private merging: Merges | undefined
  readonly hooks: Array<Effect.Effect<void>> = []
  private noted: ReadSet | undefined
  durability: Durability
  /** Whether the body gave up until something that it read changes, or until a time in milliseconds. */
  retries = false
  retriesAt = Infinity
  private readonly machine: Machine
  private readonly view: View
  /** Whether it runs in an exclusive turn. */
  readonly isInTurn: boolean
  /** Whether its commit is one of a session's: that is a single record. */
  readonly isInSession: boolean
  private running = true
  private contending = true

  constructor(
    machine: Machine,
    view: View,
    options: Pick<Running, "durability" | "isInTurn" | "isInSession">
  ) {
    this.at = view.at
    this.now = view.now
    this.isInTurn = options.isInTurn
    this.isInSession = options.isInSession
    this.machine = machine
    this.view = view
    this.durability = options.durability
    machine.window.begin(view.at)
  }

  /** The body is over: nothing passes through here any more, whoever still holds it. */
  end(): void {
    this.running = false
    this.view.release()
  }

  /** Reads of the store; reads that the own writes answered do not count. */
  get reads(): ReadSet {
    return this.noted ??= new ReadSet(this.at)
  }

  get hasRead(): boolean {
    return this.noted !== undefined
  }

  get isEmpty(): boolean {
    return this.writes.isEmpty && (this.streamed === undefined || this.streamed.runs.length === 0)
  }

  /** Nobody asks any more what was committed since its snapshot. */
  leave(): void {
    if (!this.contending) return
    this.contending = false
    this.machine.window.end(this.at)
  }

  joins(machine: Machine): boolean {
    return this.running && machine === this.machine
  }

  get(keyspace: Declared, key: Uint8Array, columns: Columns): Effect.Effect<Row | undefined, StoreError> {
    return Effect.suspend(() => later(this.look(keyspace, key, columns)))
  }

  look(keyspace: Declared, key: Uint8Array, columns: Columns): Looked {
    if (this.running && this.isEmpty) {
      this.note(keyspace, key)
      return this.view.look(keyspace, key, columns)
    }
    const refused = this.refusal(keyspace)
    if (refused !== undefined) return refused
    const own = this.writes.find(keyspace.name)
    const write = own?.get(key)
    if (write !== undefined && write.reducer === undefined) return rowOf(write, this.at)
    if (own?.cleared === true) return undefined
    if (this.own.hasRuns(keyspace.name)) return this.getBeyond(keyspace, key.slice(), columns, write)
    this.note(keyspace, key)
    const stored = this.view.look(keyspace, key, columns)
    if (write === undefined) return stored
    return isHere(stored)
      ? this.fold(keyspace, write, stored)
      : Effect.map(stored, (row) => this.fold(keyspace, write, row))
  }

  /** Looks for a key in what was written beyond memory, then in the store. */
  private getBeyond(keyspace: Declared, key: Uint8Array, columns: Columns, above: Write | undefined) {
    const seen = this.own.seen(keyspace.name, key)
    return Effect.flatMap(this.own.find(keyspace.name, key, above), ({ hides, write }) => {
      if (hides) return Exit.succeed(write === undefined ? undefined : rowOf(write, this.at))
      this.note(keyspace, key)
      const stored = this.view.get(keyspace, key, columns)
      return write === undefined
        ? stored
        : Effect.map(stored, (row) => this.fold(keyspace, write, row, seen()))
    })
  }

  getMany(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    columns: Columns
  ): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError> {
    return this.guarded(keyspace, () => {
      if (this.own.hasRuns(keyspace.name)) {
        return Effect.forEach(keys, (key) => this.get(keyspace, key, columns))
      }
      const own = this.writes.find(keyspace.name)
      if (own === undefined) {
        for (const key of keys) this.note(keyspace, key)
        return this.view.getMany(keyspace, keys, columns)
      }
      const rows: Array<Row | undefined> = []
      const stored: Array<number> = []
      const writes = keys.map((key) => own.get(key))
      writes.forEach((write, index) => {
        rows.push(write === undefined ? undefined : rowOf(write, this.at))
        if (write === undefined ? !own.cleared : write.reducer !== undefined) stored.push(index)
      })
      if (stored.length === 0) return Exit.succeed(rows)
      const asked = stored.map((index) => keys[index] as Uint8Array)
      for (const key of asked) this.note(keyspace, key)
      return Effect.map(this.view.getMany(keyspace, asked, columns), (found) => {
        stored.forEach((index, place) => {
          const write = writes[index]
          rows[index] = write === undefined ? found[place] : this.fold(keyspace, write, found[place])
        })
        return rows
      })
    })
  }

  scan(keyspace: Declared, range: Range): Scan {
    const read = this.reads.range(this.machine.window.spaceOf(keyspace.name))
    const own = this.own.of(keyspace.name)
    const rows = overlay(
      (stored) => this.view.scan(keyspace, stored),
      own,
      range,
      (write, stored) => this.fold(keyspace, write, stored, own.isCurrent(write))
    )
    let left = range.limit
    const noted = Effect.matchEffect(rows, {
      onSuccess: (chunk): Scan => {
        left -= chunk.length
        const last = chunk.at(-1)
        if (last !== undefined) cover(read, range, last.key)
        return Exit.succeed(chunk)
      },
      onFailure: (error): Scan => {
        // Where the limit ended it, nobody knows what comes behind.
        if (Cause.isDone(error) && left > 0) {
          read.lower = range.lower
          read.upper = range.upper
        }
        return Effect.fail(error)
      }
    })
    return this.guarded(keyspace, () => noted)
  }

  /**
   * The row of an own write over what is stored. An operand on what expires is put as what it comes to: by the time of
   * the commit that may have expired, and the operand would begin anew, though the body saw otherwise.
   */
  private fold(
    keyspace: Declared,
    write: Write,
    stored: Row | undefined,
    isCurrent = this.writes.find(keyspace.name)?.get(write.key) === write
  ): Row | undefined {
    const row = foldedRow(write, stored, this.at)
    const { expiry } = stored ?? {}
    if (row === undefined || expiry === undefined || write.reducer === undefined) return row
    if (isCurrent) this.writes.set(keyspace, { key: write.key, value: row.value.slice(), expiry })
    return row
  }

  seen({ name }: Declared, key: Uint8Array): () => boolean {
    return this.own.seen(name, key)
  }

  /** Writes at once, as `remove` does: who calls it runs it. */
  put(
    keyspace: Declared,
    key: Uint8Array,
    value: Uint8Array,
    expiry = Infinity
  ): Effect.Effect<void, StoreError> {
    // What has expired already need not be written first.
    return expiry <= this.now
      ? this.remove(keyspace, key)
      : this.set(keyspace, key, value, expiry === Infinity ? plain : { expiry })
  }

  remove(keyspace: Declared, key: Uint8Array): Effect.Effect<void, StoreError> {
    return this.set(keyspace, key, undefined, plain)
  }

  merge(keyspace: Merging, key: Uint8Array, operand: Uint8Array): Effect.Effect<void, StoreError> {
    const { limits } = this.machine
    this.merging ??= new Merges(this, {
      limits,
      own: this.own,
      stored: (keyspace, key) => {
        this.note(keyspace, key)
        return this.view.get(keyspace, key, "keys and values")
      },
      set: (keyspace, key, value, how) => this.set(keyspace, key, value, how)
    })
    const { merging } = this
    return this.guarded(keyspace, () => merging.merge(keyspace, key, operand))
  }

  clear(keyspace: Declared): Effect.Effect<void, StoreError> {
    return this.guarded(keyspace, () => Effect.sync(() => this.writes.clear(keyspace)))
  }

  drop(keyspace: Declared): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => {
      if (!this.running) return ended("transaction")
      this.writes.drop(keyspace)
      return Exit.void
    })
  }

  /** A hook that comes too late would never run, and nobody would know. */
  onCommit(hook: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.running) return Effect.orDie(ended("transaction"))
      this.hooks.push(hook)
      return Exit.void
    })
  }

  /** Gives up until something that was read changes, or until a time; whoever runs the body sees to it. */
  retry(at: number): Effect.Effect<never> {
    return Effect.suspend(() => {
      if (!this.running) return Effect.orDie(ended("transaction"))
      this.retries = true
      this.retriesAt = Math.min(this.retriesAt, at)
      return Effect.interrupt
    })
  }

  /** Whether a step that just ended gave up; from here on the body goes on all the same. */
  resumes(): boolean {
    const { retries } = this
    this.retries = false
    return retries
  }

  /** A transaction inside it asks for at least so much. */
  atLeast(durability: Durability): void {
    if (levels.indexOf(durability) > levels.indexOf(this.durability)) this.durability = durability
  }

  step(): (exit: Exit.Exit<unknown, unknown>) => void {
    const { hooks, writes } = this
    const mark = writes.mark()
    const count = hooks.length
    return (exit) => {
      if (Exit.isSuccess(exit)) return writes.keep(mark)
      writes.restore(mark)
      this.streamed?.truncate(writes.layers)
      hooks.length = Math.min(hooks.length, count)
    }
  }

  private note(keyspace: Declared, key: Uint8Array): void {
    this.reads.key(this.machine.window.spaceOf(keyspace.name), key)
  }

  private set(
    keyspace: Declared,
    key: Uint8Array,
    value: Uint8Array | undefined,
    how: How
  ): Effect.Effect<void, StoreError> {
    const refused = this.refusal(keyspace)
    if (refused !== undefined) return refused
    const { keyBytes, transactionBytes, valueBytes } = this.machine.limits
    const size = value?.length ?? 0
    if (key.length > keyBytes) return exceeded("keyBytes", key.length, keyBytes)
    if (size > valueBytes) return exceeded("valueBytes", size, valueBytes)
    const bytes = this.writes.bytes + key.length + size + writeOverheadBytes
    if (this.isInSession && bytes > transactionBytes) {
      return exceeded("transactionBytes", bytes, transactionBytes)
    }
    this.writes.bytes = bytes
    this.writes.set(keyspace, { key, value, reducer: how.reducer, expiry: how.expiry }, how.operand)
    if (bytes <= transactionBytes) return Exit.void
    this.streamed ??= new Streamed(this.machine, this.writes, this)
    return this.streamed.spill
  }

  /** Runs a step of a body that has not ended, on a keyspace whose own writes have its layout. */
  private guarded<A, E>(
    keyspace: Declared,
    step: () => Effect.Effect<A, E>
  ): Effect.Effect<A, E | StoreError> {
    return Effect.suspend((): Effect.Effect<A, E | StoreError> => this.refusal(keyspace) ?? step())
  }

  private refusal({ layout, name }: Declared): Exit.Exit<never, StoreError> | undefined {
    if (!this.running) return ended("transaction")
    const own = this.writes.find(name) ?? this.streamed?.reader.newest(name)
    if (own === undefined || own.accepts(layout)) return undefined
    return Exit.fail(
      storeError(new LayoutMismatch({ keyspace: name, stored: own.layout, declared: layout }))
    )
  }
}

const plain: How = {}

const levels: ReadonlyArray<Durability> = ["memory", "buffered", "synced"]

const exceeded = (limit: string, actual: number, maximum: number): Exit.Exit<never, StoreError> =>
  Exit.fail(storeError(new LimitExceeded({ limit, actual, maximum })))
