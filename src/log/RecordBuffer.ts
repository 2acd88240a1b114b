/**
 * Memory that records are written into, and when a value in it is a large one.
 *
 * Must not know how a record looks.
 */

/** Memory of records, under a view for each use of it: those that write, and those that `RecordReader` reads by. */
export interface RecordBuffer {
  readonly bytes: Buffer
  readonly words: Uint32Array
  readonly doubles: Float64Array
  readonly signed: Int32Array
  readonly fields: DataView
}

/** `size` is a multiple of 8. Views cost more than a small group, so they live as long as their memory. */
export const makeRecordBuffer = (size: number): RecordBuffer => {
  const buffer = new ArrayBuffer(size)
  return {
    bytes: Buffer.from(buffer),
    words: new Uint32Array(buffer),
    doubles: new Float64Array(buffer),
    signed: new Int32Array(buffer),
    fields: new DataView(buffer)
  }
}

/** Whether a leaf keeps a reference in place of a value: alone, or beside its key, it takes more than so much. */
export const isLargeValue = (
  keyBytes: number,
  valueBytes: number,
  inlineValueBytes: number,
  inlinePairBytes: number
): boolean => valueBytes > inlineValueBytes || (keyBytes + 3 & ~3) + (valueBytes + 3 & ~3) > inlinePairBytes
