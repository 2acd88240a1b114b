/**
 * What happened in random runs: one that does not reach its corners proves nothing.
 */
export const noCounts = () => ({
  operations: 0,
  gets: 0,
  scanned: 0,
  past: 0,
  audits: 0,
  checkpoints: 0,
  abandoned: 0,
  reopened: 0,
  dropped: 0,
  loads: 0,
  merges: 0,
  forgotten: 0,
  spared: 0,
  pagesMade: 0,
  packed: 0,
  tombstones: 0,
  operands: 0,
  folded: 0,
  phantoms: 0,
  caches: 0
})

export type FuzzCounts = ReturnType<typeof noCounts>
