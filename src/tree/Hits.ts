/**
 * Hits: how many reads were answered, and from what.
 */
/** What answered reads, by where it stood; absent keys that the base page did not have are its as well. */
export interface Hits {
  leaf: number
  insert: number
  cache: number
  tombstone: number
  phantom: number
  /** The base page, read for this or another record. */
  guest: number
  versions: number
}

export const noHits = (): Hits => ({
  leaf: 0,
  insert: 0,
  cache: 0,
  tombstone: 0,
  phantom: 0,
  guest: 0,
  versions: 0
})
