/**
 * Bytes that mean harm, at the level of the decoders: what is sound is changed in its fields, its checksums are made
 * right again, and it is read, to its end where it is accepted.
 *
 * Each word, half and byte where structure is gets each lie by itself; after that several fields at once, by chance.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { counting } from "./allocations.ts"
import type { Random } from "./random.ts"

/** Counts what a reader does, and ends one that does not come to an end. */
export class Steps {
  private left: number

  constructor(most: number) {
    this.left = most
  }

  take(): void {
    if (--this.left < 0) throw new Error("it reads on and on")
  }
}

export interface Subject {
  readonly name: string
  readonly sources: ReadonlyArray<Uint8Array>
  /** Bytes from the beginning in which each field is tried; all of them where it is absent. */
  readonly dense?: number | undefined
  /** Makes the checksums right, in place. */
  readonly seal?: ((bytes: Buffer) => void) | undefined
  /** Reads all that is there; false where it is refused. Must not throw, whatever the bytes say. */
  readonly read: (bytes: Buffer, steps: Steps) => boolean
}

export interface Figures {
  tried: number
  accepted: number
  /** The most that one case allocated. */
  bytes: number
}

const lies = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x0001_0000, 0xffff, 0xfff8] as const

/** Writes a lie about the field of `size` bytes at `at`. */
const lie = (bytes: Buffer, at: number, size: 1 | 2 | 4, which: number, chance: Random): void => {
  const was = bytes.readUIntLE(at, size)
  const value = which < lies.length
    ? lies[which] as number
    : [
      was + 1,
      was - 1,
      was ^ 1 << chance.int(31),
      chance.int(2 ** 32),
      was * 2,
      was + 8
    ][which - lies.length] as number
  bytes.writeUIntLE((value >>> 0) % 2 ** (8 * size), at, size)
}

const liesOf = lies.length + 6

/** Each field with each lie, of one source. */
const fields = function*(source: Uint8Array, dense: number, chance: Random): Generator<Buffer> {
  for (const size of [4, 2, 1] as const) {
    for (let at = 0; at + size <= Math.min(dense, source.length); at += size) {
      for (let which = 0; which < (size === 4 ? liesOf : 4); which++) {
        const bytes = Buffer.from(source)
        lie(bytes, at, size, size === 4 ? which : [0, 4, 8, 9][which] as number, chance)
        yield bytes
      }
    }
  }
}

/** Some fields at once; now and then a part of it moves, or is another's. */
const mixed = ({ sources }: Subject, dense: number, chance: Random): Buffer => {
  const source = chance.pick(sources)
  const bytes = Buffer.from(source)
  const within = Math.min(dense, bytes.length)
  for (let changes = 1 + chance.int(4); changes > 0; changes--) {
    const size = chance.pick([4, 4, 2, 1] as const)
    const end = chance.bool(0.8) ? within : bytes.length
    if (end < size) continue
    const at = chance.int(Math.floor(end / size)) * size
    if (chance.bool(0.15)) {
      const other = chance.pick(sources)
      const from = chance.int(other.length) & ~3
      bytes.set(other.subarray(from, from + Math.min(4 * chance.int(16), bytes.length - at)), at)
    } else lie(bytes, at, size, chance.int(liesOf), chance)
  }
  return bytes
}

const cases = function*(subject: Subject, count: number, chance: Random): Generator<Buffer> {
  const { sources } = subject
  const dense = subject.dense ?? Infinity
  let made = 0
  // By turns, so that each source is begun with; half of all cases at most.
  const walks = sources.map((source) => fields(source, dense, chance))
  for (let walk = walks.shift(); walk !== undefined && 2 * made < count; walk = walks.shift()) {
    for (let turn = 0; turn < 64 && 2 * made < count; turn++) {
      const next = walk.next()
      if (next.done === true) break
      made++
      yield next.value
      if (turn === 63) walks.push(walk)
    }
  }
  for (; made < count; made++) yield mixed(subject, dense, chance)
}

/** What values are copied to is allocated for many at a time (`ValueOut.ts`): for those of a tree and of a batch. */
const slabs = 40_960

/** Tries so many cases of a subject: each ends in data or a refusal, and allocates no more than it may. */
export const attack = (subject: Subject, count: number, seed: number, chance: Random): Figures => {
  const { name, read, seal, sources } = subject
  const figures: Figures = { tried: 0, accepted: 0, bytes: 0 }
  const to = { bytes: 0 }
  const stepsOf = (bytes: Uint8Array): Steps => new Steps(1_000 + 16 * bytes.length)
  let sound = 0
  Effect.runSync(counting(
    to,
    Effect.sync(() => {
      for (const [index, source] of sources.entries()) {
        const bytes = Buffer.from(source)
        seal?.(bytes)
        to.bytes = 0
        assert.isTrue(read(bytes, stepsOf(bytes)), `${name}: source ${index} is sound`)
        sound = Math.max(sound, to.bytes)
      }
      for (const bytes of cases(subject, count, chance)) {
        seal?.(bytes)
        const title = () =>
          `${name}, case ${figures.tried} of seed ${seed}: ${bytes.toString("base64").slice(0, 60)}…`
        to.bytes = 0
        try {
          if (read(bytes, stepsOf(bytes))) figures.accepted++
        } catch (cause) {
          throw new Error(title(), { cause })
        }
        figures.bytes = Math.max(figures.bytes, to.bytes)
        if (to.bytes > 2 * bytes.length + sound + slabs) assert.fail(`${title()}: ${to.bytes} bytes`)
        figures.tried++
      }
    })
  ))
  return figures
}
