/**
 * Records of the log made of puts, as the tree's owner is handed them.
 */
import { RecordReader } from "../../src/log/RecordReader.ts"
import { makeRecordBuffer, RecordWriter } from "../../src/log/RecordWriter.ts"
import type { Row } from "./treeModel.ts"
import { bytes } from "./world.ts"

/** One transaction of puts to keyspace `keyspace`, as its bytes. */
export const recordOf = (rows: ReadonlyArray<Row>, keyspace = 1): Buffer => {
  const writer = new RecordWriter({
    buffer: makeRecordBuffer(1024),
    headroomBytes: 0,
    inlineValueBytes: 100_000
  })
  writer.begin(1, 1)
  for (const { expiry, key, value } of rows) {
    if (expiry === Infinity) writer.put(keyspace, bytes(key), bytes(value))
    else writer.putExpiring(keyspace, bytes(key), bytes(value), expiry)
  }
  const length = writer.finish()
  return writer.bytes.subarray(0, length)
}

/** A reader before the first write of a record at LSN `lsn`; false where the record itself is broken. */
export const readerOf = (record: Buffer, lsn: number): RecordReader | undefined => {
  const reader = new RecordReader().open(record, 0, record.length, lsn, 1)
  return reader.nextRecord() ? reader : undefined
}
