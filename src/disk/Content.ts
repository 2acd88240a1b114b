/**
 * The bytes of one file in memory: sparse, and cheap to copy.
 *
 * Bytes stand in chunks; a chunk that was never written is absent and reads as zeros. A copy shares its
 * chunks with the original until one of the two writes, so an image of a whole disk costs a few array copies,
 * and a crash test can take thousands of them.
 *
 * - I1 Bytes of a chunk at or beyond `size` are zero.
 * - I2 A chunk is written only by the content that owns it.
 */
import { hash } from "node:crypto"

const chunkBytes = 4 * 1024

/** Of chunks that nobody writes to any more (I2). */
const digests = new WeakMap<Uint8Array, string>()

const digestOf = (chunk: Uint8Array | undefined): string => {
  if (chunk === undefined) return digestOf(zeros)
  let digest = digests.get(chunk)
  if (digest === undefined) digests.set(chunk, digest = hash("sha1", chunk, "base64"))
  return digest
}

const zeros = new Uint8Array(chunkBytes)

export class Content {
  /** Bytes up to the end of the file. */
  size = 0
  private chunks: Array<Uint8Array | undefined> = []
  /** Parallel to `chunks`: true where no other content may see the chunk (I2). */
  private owned: Array<boolean> = []

  /** Fills `buffer` from byte `position`; answers the bytes read, fewer than asked only at the end. */
  read(buffer: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(buffer.length, this.size - position))
    for (let done = 0; done < count;) {
      const offset = (position + done) % chunkBytes
      const step = Math.min(count - done, chunkBytes - offset)
      const chunk = this.chunks[(position + done - offset) / chunkBytes]
      if (chunk === undefined) buffer.fill(0, done, done + step)
      else buffer.set(chunk.subarray(offset, offset + step), done)
      done += step
    }
    return count
  }

  /** Puts `bytes` at `position` and moves the end if they reach beyond it. */
  write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length;) {
      const offset = (position + done) % chunkBytes
      const step = Math.min(bytes.length - done, chunkBytes - offset)
      this.own((position + done - offset) / chunkBytes).set(bytes.subarray(done, done + step), offset)
      done += step
    }
    if (bytes.length > 0) this.size = Math.max(this.size, position + bytes.length)
  }

  /**
   * Moves the end to `bytes`. What this adds reads as zeros, also where something stood before an earlier
   * cut.
   */
  resize(bytes: number): void {
    if (bytes < this.size) {
      const whole = Math.ceil(bytes / chunkBytes)
      this.chunks.length = Math.min(this.chunks.length, whole)
      this.owned.length = this.chunks.length
      const offset = bytes % chunkBytes
      if (offset > 0 && this.chunks[whole - 1] !== undefined) this.own(whole - 1).fill(0, offset)
    }
    this.size = bytes
  }

  /** A copy that no later change of either side reaches. */
  fork(): Content {
    const copy = new Content()
    copy.size = this.size
    copy.chunks = this.chunks.slice()
    this.owned.fill(false)
    copy.owned = this.owned.slice()
    return copy
  }

  /** All bytes, in an array of their own. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.size)
    this.read(bytes, 0)
    return bytes
  }

  /** Equal for equal bytes, and else different. What is shared with other contents is hashed once. */
  digest(): string {
    this.owned.fill(false)
    let digest = `${this.size}`
    for (let index = 0; index * chunkBytes < this.size; index++) digest += ` ${digestOf(this.chunks[index])}`
    return digest
  }

  private own(index: number): Uint8Array {
    const chunk = this.chunks[index]
    if (chunk !== undefined && this.owned[index] === true) return chunk
    const mine = chunk === undefined ? new Uint8Array(chunkBytes) : chunk.slice()
    this.chunks[index] = mine
    this.owned[index] = true
    return mine
  }
}
