/**
 * Streams of pieces: a commit counts with exactly the pieces that it names, and with no others.
 */
import { assert, describe, it } from "@effect/vitest"
import { NO_LSN } from "../src/log/Lsn.ts"
import { OpenStreams } from "../src/log/Pieces.ts"
import { RecordReader } from "../src/log/RecordReader.ts"
import type { Tail } from "../src/log/Tail.ts"
import { appendPut, bytesOf, life, makeTail } from "./support/log.ts"

const reader = new RecordReader()

/** Appends what was begun, and sets the reader on it. */
const appended = (tail: Tail): RecordReader => {
  tail.append()
  tail.readLast(reader)
  assert.isTrue(reader.nextRecord())
  return reader
}

/** Two pieces; answers the LSN of the first and the checksum over both. */
const write = (tail: Tail, streams: OpenStreams): { readonly first: number; readonly checksum: number } => {
  let first = NO_LSN
  for (let number = 0; number < 2; number++) {
    tail.beginPiece(1, first, number).put(1, bytesOf(`piece ${number}`), new Uint8Array(8))
    assert.isUndefined(streams.add(appended(tail)))
    if (number === 0) first = reader.lsn
  }
  return { first, checksum: (streams.find(first)?.checksum ?? 0) >>> 0 }
}

describe("a commit of pieces", () => {
  it("counts with all of them", () => {
    const [tail, streams] = [makeTail(), new OpenStreams()]
    const { checksum, first } = write(tail, streams)
    tail.beginCommit(2, { first, pieces: 2, checksum })
    assert.isUndefined(streams.fault(appended(tail)))
  })

  it("does not count with fewer, with others, or with none", () => {
    const [tail, streams] = [makeTail(), new OpenStreams()]
    const { checksum, first } = write(tail, streams)
    for (
      const [wrong, says] of [
        [{ first, pieces: 3, checksum }, "2 pieces"],
        [{ first, pieces: 2, checksum: (checksum ^ 1) >>> 0 }, "hash"],
        [{ first: first + 8, pieces: 2, checksum }, "no piece"]
      ] as const
    ) {
      tail.beginCommit(2, wrong)
      assert.include(streams.fault(appended(tail)), says)
    }
  })

  it("does not count with those of another life", () => {
    const streams = new OpenStreams()
    const { checksum, first } = write(makeTail(), streams)
    const tail = makeTail({ incarnation: life(2) })
    // A commit stands behind what it names.
    appendPut(tail, 500)
    tail.beginCommit(2, { first, pieces: 2, checksum })
    assert.include(streams.fault(appended(tail)), "another life")
  })
})
