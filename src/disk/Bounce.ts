/**
 * Buffers for transfers past the system's cache, which takes none that are not aligned to a device's blocks.
 *
 * JavaScript does not say where a `Uint8Array` stands in memory, so that no caller could keep to such a rule. The
 * memory of a `WebAssembly.Memory` begins on a page of the system, and it takes no memory for what was never touched.
 * Rejected: handing aligned parts of the callers' own memories through, which saves a copy (0.1 µs for 4 KiB, beside
 * a device's 50 and more) and makes whoever calls a part of this.
 *
 * - B1 A buffer begins on a multiple of `directBytes`, holds a multiple of them, and is used by one transfer at a time.
 * - B2 The buffers are as many as there were at first; a transfer that finds none waits for one, in its turn. It holds
 *   one and asks for no second, so none waits for ever.
 */
import { invariant } from "../Invariant.ts"
import { directBytes } from "../Limits.ts"

/** Large ones hold a run of pages on its way out; more of them than threads that write would help nobody. */
const large = { bytes: 1 << 20, buffers: 8 }
/** Small ones hold the largest page: as many as reads that are in flight by default. */
const small = { bytes: 1 << 15, buffers: 64 }
/** WebAssembly counts memory in pages of its own. */
const wasmPageBytes = 1 << 16

// Node's types leave it out, and the DOM's would bring a thousand names that do not exist here.
declare const WebAssembly: {
  readonly Memory: new(limits: { readonly initial: number; readonly maximum: number }) => {
    readonly buffer: ArrayBuffer
  }
}

/** Buffers of one size, and who waits for one. */
export class Lane {
  /** The one used last is used next: it is in the processor's cache, and the others may never be touched. */
  private readonly free: Array<Buffer>
  private readonly waiting: Array<(blocks: Buffer) => void> = []

  constructor(buffers: ReadonlyArray<Buffer>) {
    this.free = [...buffers]
  }

  /** Calls `use` with a buffer, now or once one is free. Whoever gets it gives it back, once. */
  take(use: (blocks: Buffer) => void): void {
    const blocks = this.free.pop()
    if (blocks === undefined) this.waiting.push(use)
    else use(blocks)
  }

  give(blocks: Buffer): void {
    const next = this.waiting.shift()
    if (next === undefined) this.free.push(blocks)
    else next(blocks)
  }
}

/** The buffers of one disk: 11 MiB at most. */
export class Bounce {
  /** For transfers in the calling thread, of which there is one at a time. */
  readonly own: Buffer
  private readonly small: Lane
  private readonly large: Lane

  constructor() {
    const bytes = large.bytes * (large.buffers + 1) + small.bytes * small.buffers
    const pages = bytes / wasmPageBytes
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
    let used = 0
    const cut = (size: number): Buffer => {
      invariant(used % directBytes === 0 && size % directBytes === 0, "Bounce B1")
      used += size
      return Buffer.from(buffer, used - size, size)
    }
    this.own = cut(large.bytes)
    this.large = new Lane(Array.from({ length: large.buffers }, () => cut(large.bytes)))
    this.small = new Lane(Array.from({ length: small.buffers }, () => cut(small.bytes)))
  }

  /** Where to take a buffer for a transfer that covers `bytes` bytes of blocks. */
  laneOf(bytes: number): Lane {
    return bytes <= small.bytes ? this.small : this.large
  }
}
