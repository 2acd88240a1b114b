/**
 * The public modules of the package, nothing else.
 *
 * Import a module by itself (`heartwood/Keyspace`) where start-up time and bundle size count.
 */
export * as Bulk from "./Bulk.ts"
export * as Codec from "./Codec.ts"
export * as Index from "./Indexes.ts"
export * as Key from "./Key.ts"
export * as Keyspace from "./Keyspace.ts"
export * as Raw from "./Raw.ts"
export * as Reducer from "./Reducer.ts"
export * as Salvage from "./Salvage.ts"
export * as Session from "./Session.ts"
export * as Snapshot from "./Snapshot.ts"
export * as Store from "./Store.ts"
export * as StoreError from "./StoreError.ts"
export * as Tx from "./Tx.ts"
export * as Verify from "./Verify.ts"
