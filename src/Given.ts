/**
 * What is given by callers whose types nobody checked, refused before anything is begun: later it would stop an actor,
 * or wait for ever. Thrown, as a mistake of the program, not of its surroundings.
 */
import type { Durability } from "./Limits.ts"

export const checkDurability = (given: Durability | undefined): void => {
  if (given === undefined || given === "memory" || given === "buffered" || given === "synced") return
  throw new RangeError(`durability is "memory", "buffered" or "synced", not ${JSON.stringify(given)}`)
}

/** An LSN that is waited for: nothing ever reaches one that is no number. */
export const checkLsn = (given: number): number => {
  if (given >= 0) return given
  throw new RangeError(`an LSN is a number that is not negative, not ${String(given)}`)
}

/** Bytes of a name, at most, are those of a key. What begins as the names of indexes do belongs to the store. */
export const checkKeyspaceName = (name: string, keyBytes: number): void => {
  if (!name.isWellFormed() || Buffer.byteLength(name) > keyBytes) {
    throw new RangeError(`a keyspace's name is well-formed text of at most ${keyBytes} bytes`)
  }
  if (/^(heartwood\/|\[")/.test(name)) {
    throw new RangeError(
      "names of keyspaces that begin with heartwood/ or [\" are the store's own: choose another"
    )
  }
}
