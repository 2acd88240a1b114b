/**
 * What is used of a package that has no types.
 */
declare module "@nxtedition/rocksdb" {
  export const RocksLevel: new(location: string, options: object) => unknown
}
