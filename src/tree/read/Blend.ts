/**
 * A leaf as a reader sees it: base page and mini-page blended into one page in scratch.
 *
 * For each key it has the mini-page's record if that is below the reader's LSN, else the base page's; an operand is
 * folded into that. What is older than both is Versions' to say. Nothing is written: a scan over what has just been
 * changed costs no merge.
 *
 * I1 Keys ascend strictly, and the fences are the base page's.
 */
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import { Folding, valueOf } from "../page/Operand.ts"
import * as Page from "../page/Page.ts"

const { Kind } = Leaf

const key = new KeyScratch()
const low = new KeyScratch()
const high = new KeyScratch()
const folding = new Folding()

/** Words that two pages may take together, with prefixes put back into each key. */
export const blendWords = (pageWords: number): number => 4 * pageWords

/** Fills `target`, of `blendWords`, from a base page at `p` of `words` and a mini-page at `m` of `minis`. */
export function blend(
  target: Int32Array,
  words: Int32Array,
  p: number,
  minis: Int32Array,
  m: number,
  reducer: number,
  at: number
): void {
  const options = {
    size: target.length,
    level: 0,
    pageId: Page.pageId(words, p),
    treeId: Page.treeId(words, p)
  }
  Page.begin(target, 0, options)
  low.assemble(words, 0, 0, words, p + Page.lowAt(words, p), Page.lowBytes(words, p))
  const bounded = Page.highBytes(words, p) !== Page.unbounded
  if (bounded) high.assemble(words, 0, 0, words, p + Page.highAt(words, p), Page.highBytes(words, p))
  Page.setFences(target, 0, low, bounded ? high : undefined)
  const count = Page.count(words, p)
  const more = Page.count(minis, m)
  Page.setCounts(target, 0, 0, count + more)
  let taken = 0
  for (let index = 0; index < more; index++) {
    const record = Leaf.recordAt(minis, m, index)
    if (Leaf.versionAt(minis, record) >= at) continue
    const kind = Leaf.kindAt(minis, record)
    if (kind === Kind.Phantom) continue
    Leaf.loadKey(minis, m, index, key)
    const found = Leaf.find(words, p, key)
    const until = found < 0 ? ~found : found
    if (until > taken) Leaf.append(target, 0, words, p, taken, until)
    taken = found < 0 ? until : found + 1
    if (kind === Kind.Operand) {
      const operand = valueOf(minis, record, Page.slotBytes(minis, m, index))
      if (found < 0) folding.alone(reducer, operand)
      else folding.into(words, p, found, reducer, operand)
      add(target, Leaf.versionAt(minis, record))
    } else if (kind !== Kind.Tombstone) {
      Leaf.append(target, 0, minis, m, index, index + 1)
    }
  }
  if (count > taken) Leaf.append(target, 0, words, p, taken, count)
}

/** Adds what was folded as the last record. */
function add(target: Int32Array, version: number): void {
  const { expiry } = folding
  const need = Leaf.neededWords(target, 0, key.length, folding.length, expiry)
  Leaf.insert(target, 0, Page.count(target, 0), need, key, Kind.Value, folding, version, expiry)
}
