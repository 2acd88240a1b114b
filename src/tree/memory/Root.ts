/**
 * A tree, as its owner knows it: where it begins, and what is in it.
 */

/** All but its id and its reducer change. */
export interface Root {
  readonly treeId: number
  /** What folds its operands (`Fold.ts`); 0 = there are none. */
  readonly reducer: number
  /** Whether a record that expires was ever written to it. */
  expires: boolean
  /** Page id of the root. */
  page: number
  /** Records in the tree, as far as it is known: exact where nothing is unresolved. */
  count: number
  /** Records in mini-pages of which it is not known whether the base page has their key. */
  unresolved: number
}
