/**
 * Mutants of pages: search, splits, mini-pages and their merges, what readers of the past see, what a checkpoint gets.
 */
import type { Mutant } from "./Mutant.ts"

export const tree: ReadonlyArray<Mutant> = [
  {
    name: "blocks handed out while they are populated",
    breaks: "Another thread writes zeros over a page.",
    file: "tree/memory/Arena.ts",
    find: "    this.begun += stretch\n",
    replace: "",
    caughtBy: { file: "arenaPopulate" }
  },
  {
    name: "page checksum skipped",
    breaks: "An image with a flipped bit, or an older one of its page, is taken for the page.",
    file: "tree/page/PageCheck.ts",
    find: "if (actual !== (checksum | 0) || claims !== actual) {",
    replace: "if (checksum === Infinity) {",
    caughtBy: { file: "page" }
  },
  {
    name: "keys above the high fence pass",
    breaks: "A page with a key that belongs to its neighbour is believed.",
    file: "tree/page/PageCheck.ts",
    find: "Page.slotBytes(words, p, count - 1), words, highAt, high) < 0",
    replace: "Page.slotBytes(words, p, count - 1), words, highAt, high) <= 0",
    caughtBy: { file: "page" }
  },
  {
    name: "binary search one off",
    breaks: "A search by heads ends one place before the first that is not below.",
    file: "tree/page/Search.ts",
    find: "  return base - heads - (((words[base] as number) - head) >> 31)\n",
    replace: "  return base - heads\n",
    caughtBy: { file: "page" }
  },
  {
    name: "shorter key not smaller",
    breaks: "Of two keys that agree as far as the shorter one goes, neither is the smaller.",
    file: "tree/page/Search.ts",
    find: "  return aBytes - bBytes\n",
    replace: "  return 0\n",
    caughtBy: { file: "page" }
  },
  {
    name: "separator one off",
    breaks: "A key that equals a separator is looked for in the leaf before it.",
    file: "tree/page/Inner.ts",
    find: "    if (order < 0) high = middle\n",
    replace: "    if (order <= 0) high = middle\n",
    caughtBy: { file: "inner" }
  },
  {
    name: "key without its prefix",
    breaks: "What the keys of a leaf have in common is missing in what a range answers.",
    file: "tree/page/RecordOut.ts",
    find: "own[to + word] = words[prefix + word] as number",
    replace: "own[to + word] = 0",
    caughtBy: { file: "cursor" }
  },
  {
    name: "expiry taken for a value",
    breaks: "The value of a record that expires is answered from two words before it.",
    file: "tree/page/RecordOut.ts",
    find: "value === key + keyWords ? keyWords + valueWords : keyWords",
    replace: "value !== key ? keyWords + valueWords : keyWords",
    caughtBy: { file: "cursor" }
  },
  {
    name: "pull begins again where it began",
    breaks: "A pull that comes to its end between two leaves does not say where the next one goes on.",
    file: "tree/read/Cursor.ts",
    find: "if (leaves > 0) batch.position",
    replace: "if (leaves < 0) batch.position",
    caughtBy: { file: "cursor", hangs: "may hang" }
  },
  {
    name: "range ends at the fence",
    breaks: "A range whose upper bound lies in a leaf takes all that is in the leaf.",
    file: "tree/read/Way.ts",
    find: "    way.to = index < 0 ? ~index : index\n",
    replace: "    way.to = index < 0 ? ~index : index + 1\n",
    caughtBy: { file: "cursor" }
  },
  {
    name: "descending range begins a leaf too far",
    breaks: "An upper bound that is a separator leads to the leaf behind it.",
    file: "tree/read/Way.ts",
    find: "if (way.bounded && index > 0 && isUpper(words, p, index - 1)) index--",
    replace: "if (way.bounded && index < 0 && isUpper(words, p, index - 1)) index--",
    caughtBy: { file: "cursor" }
  },
  {
    name: "previous leaf taken without a look at its bound",
    breaks: "A descending range leaves a leaf of which a window is left.",
    file: "tree/read/Way.ts",
    find: "|| !way.bounded || !isUpper(above, aboveAt, taken - 1)) return 0",
    replace: "|| !way.bounded) return 0",
    caughtBy: { file: "spill" }
  },
  {
    name: "pull goes on from a node that has changed",
    breaks: "A range reads a leaf by what the node above it was when the pull before ended.",
    file: "tree/read/Way.ts",
    find: "  way.taken = -1\n",
    replace: "  way.taken |= 0\n",
    caughtBy: { file: "cursor" }
  },
  {
    name: "records lost in a merge of leaves",
    breaks: "The first record of the right page is left out where two leaves become one.",
    file: "tree/write/Merge.ts",
    find: "Leaf.append(left, p, second, 0, 0, Page.count(second, 0))",
    replace: "Leaf.append(left, p, second, 0, Math.min(1, Page.count(second, 0)), Page.count(second, 0))",
    caughtBy: { file: "tree", tests: "as a sorted map" }
  },
  {
    name: "tombstone lost in a merge",
    breaks: "What was removed beside the base page is there again when the mini-page is merged.",
    file: "tree/write/Consolidate.ts",
    find: "? this.inPlace.take(root, this.key, version)",
    replace: "? Absent",
    caughtBy: { file: "operand" }
  },
  {
    name: "record counted twice in a merge",
    breaks: "A merged record is counted as that of the mini-page and of the base page.",
    file: "tree/write/Consolidate.ts",
    find: "    root.count -= MiniPage.countAt(words, record)\n",
    replace: "",
    caughtBy: { file: "operand" }
  },
  {
    name: "phantom kept after an insert",
    breaks: "A key that was known to be absent stays so although it was written.",
    file: "tree/write/MiniWriter.ts",
    find: "Leaf.replace(words, p, index, need, kind | flags << 8, value, from, expiry)",
    replace:
      "Leaf.replace(words, p, index, need, (before === Absent ? Kind.Phantom : kind) | flags << 8, value, from, expiry)",
    caughtBy: { file: "miniPage" }
  },
  {
    name: "dirty records dropped with their second chance",
    breaks: "A mini-page that moves to the tail leaves its cold changes behind.",
    file: "tree/memory/Evict.ts",
    find: "pages.move(id, dirty === 0 ? \"used\" : \"dirty or touched\", 0)",
    replace: "pages.move(id, \"touched\", 0)",
    caughtBy: { file: "miniFuzz", tests: "many small records" }
  },
  {
    name: "dirty mini-page forgotten",
    breaks: "A mini-page without a second chance is let go with its changes.",
    file: "tree/memory/Evict.ts",
    find: "    } else if (dirty === 0) {\n",
    replace: "    } else if (touched === 0) {\n",
    caughtBy: { file: "miniFuzz", tests: "many small records" }
  },
  {
    name: "batch that reads the future",
    breaks: "Of many keys, one is given the record that was written at its reader's LSN.",
    file: "tree/read/GetMany.ts",
    find: "    if (Leaf.versionAt(words, record) >= at) return false\n",
    replace: "    if (Leaf.versionAt(words, record) > at) return false\n",
    caughtBy: { file: "getMany" }
  },
  {
    name: "batch that takes what is near",
    breaks: "Of many keys, one is given the record where its search ended, whoever's that is.",
    file: "tree/read/GetMany.ts",
    find: "words, keyAt, slot >>> 16) !== 0) return false\n",
    replace: "words, keyAt, slot >>> 16) > 0) return false\n",
    caughtBy: { file: "getMany" }
  },
  {
    name: "older version visible too soon",
    breaks: "A reader sees a record of a mini-page that was written at its own LSN.",
    file: "tree/read/Lookup.ts",
    find: "        if (Leaf.versionAt(words, record) < at) {\n",
    replace: "        if (Leaf.versionAt(words, record) <= at) {\n",
    caughtBy: { file: "operand" }
  },
  {
    name: "version pruned too early",
    breaks: "A record that was current until the durable LSN, to which a failed log falls back, is dropped.",
    file: "tree/past/Versions.ts",
    find: "(this.table.to[this.queueHead] as number) < lsn) {",
    replace: "(this.table.to[this.queueHead] as number) <= lsn) {",
    caughtBy: { file: "tree", tests: "reads the past" }
  },
  {
    name: "pin one off",
    breaks: "A reader at the LSN at which a record was overwritten does not hold it.",
    file: "tree/past/Pins.ts",
    find: "if ((this.pinned[middle] as Pin).lsn <= lsn) low = middle + 1",
    replace: "if ((this.pinned[middle] as Pin).lsn < lsn) low = middle + 1",
    caughtBy: { file: "versions" }
  },
  {
    name: "displaced record not kept",
    breaks: "A write in place overwrites what a snapshot sees.",
    file: "tree/write/InPlace.ts",
    find: "    this.displace(root, words, p, index, key, version)\n    if (!cramped) {",
    replace: "    if (!cramped) {",
    caughtBy: { file: "tree", tests: "reads the past" }
  },
  {
    name: "cut not saved before a change",
    breaks: "A checkpoint holds what was written after its cut.",
    file: "tree/memory/Changes.ts",
    find:
      "    if ((state & State.Cut) !== 0) this.save(this.copy(id, this.inFlight, \"cut\"), State.Cut)\n    map.generation",
    replace: "    if ((state & State.Cut) !== 0) this.clearCut(id, State.Cut)\n    map.generation",
    caughtBy: { file: "pages" }
  },
  {
    name: "mini-page of the cut not saved before a change",
    breaks: "A checkpoint holds changes beside a base page that came after its cut.",
    file: "tree/memory/Changes.ts",
    find: "    if ((state & State.CutMini) !== 0) this.saveMini(id)\n    this.markChanged(id, changingMini)",
    replace: "    if ((state & State.CutMini) !== 0) this.noMini(id)\n    this.markChanged(id, changingMini)",
    caughtBy: { file: "pages" }
  },
  {
    name: "late image takes the page's place",
    breaks: "An image that was taken before a change counts as the page.",
    file: "tree/memory/Changes.ts",
    find: "const newest = map.generation[id] === image.generation && (state & State.Imaged) !== 0",
    replace: "const newest = map.generation[id] !== 0 || (state & State.Imaged) !== 0",
    caughtBy: { file: "pages" }
  },
  {
    name: "changes of a failed checkpoint forgotten",
    breaks: "What a checkpoint that failed had covered is missing in the next one.",
    file: "tree/memory/Changes.ts",
    find: "      this.markChanged(id, State.Changed | ((state & State.Mini) !== 0 ? State.Unpacked : 0))\n",
    replace: "",
    caughtBy: { file: "pages" }
  },
  {
    name: "loaded although the page moved on",
    breaks: "An image is installed that is not the page's any more.",
    file: "actors/buffer/Loads.ts",
    find: "else if (map.generation[pageId] === generation && (purpose",
    replace: "else if (generation >= 0 && (purpose",
    caughtBy: { file: "buffer" }
  },
  {
    name: "sequence past its leaf",
    breaks: "Puts that ascend are written to a leaf though they lie above its high fence.",
    file: "tree/write/Fill.ts",
    find: "      else high = middle\n    }\n    return low\n",
    replace: "      else high = middle\n    }\n    return puts.count\n",
    caughtBy: { file: "fill" }
  },
  {
    name: "closed leaf too full",
    breaks: "The fence that closes a leaf is not counted among what is in it.",
    file: "tree/write/Fill.ts",
    find: "return paddedWords(fence) - records * (prefix >>> 2)",
    replace: "return -records * (prefix >>> 2)",
    caughtBy: { file: "fill" }
  },
  {
    name: "equal keys ascend",
    breaks: "A record of the log that puts a key twice makes two records of a leaf.",
    file: "tree/write/Puts.ts",
    find: "if (order >= 0) return -1",
    replace: "if (order > 0) return -1",
    caughtBy: { file: "fill" }
  },
  {
    name: "unseen pages taken for checked ones",
    breaks:
      "A page that an earlier life or somebody else has written is believed once its checksum is right.",
    file: "tree/memory/MapTable.ts",
    find: "    this.packChecksum[id] = packChecksum\n    this.state[id] = 0\n",
    replace: "    this.packChecksum[id] = packChecksum\n    this.state[id] = State.Checked\n",
    caughtBy: { file: "pages" }
  },
  {
    name: "another's place believed",
    breaks: "A page that is sound in itself is taken for the one that its parents lead to.",
    file: "tree/memory/Lineage.ts",
    find:
      "    if (way === elsewhere) return stray(\"a page where its parents say\", \"one of another place\")\n",
    replace: "",
    caughtBy: { file: "rot.places" }
  },
  {
    name: "root of an ended tree refused",
    breaks:
      "A tree that is cleared before anybody has read it is never taken down, and the store says that it is damaged.",
    file: "tree/memory/Lineage.ts",
    find: "(own === dropped ? this.isKnown(treeId) : own !== treeId)",
    replace: "own !== (this.isKnown(treeId) ? treeId : dropped)",
    caughtBy: { file: "rot.places" }
  },
  {
    name: "two writes of a key swept",
    breaks: "Of the writes of a key in a log that is replayed the first is handed out beside the last.",
    file: "tree/Gathered.ts",
    find: "this.compare(row, halves[2 * place + 2] as number) !== 0",
    replace: "this.compare(row, halves[2 * place + 2] as number) !== 0 || place === from",
    caughtBy: { file: "sweep" }
  },
  {
    name: "record that passes a sweep",
    breaks: "A record that is applied by itself is applied before those that were gathered.",
    file: "actors/apply/Sweep.ts",
    find: "    this.settle()\n    this.lsn = reader.lsn\n",
    replace: "    this.lsn = reader.lsn\n",
    caughtBy: { file: "sweep" }
  },
  {
    name: "leaf split at another place",
    breaks: "Puts that come before a record are built into its leaf behind it.",
    file: "tree/write/Fill.ts",
    find: "      if (order >= 0) break\n      filled",
    replace: "      if (order > 0) break\n      filled",
    caughtBy: { file: "sweep" }
  },
  {
    name: "hint of another tree believed",
    breaks: "A key is found in a leaf of another tree, where one with the same hash was found.",
    file: "tree/page/Leaf.ts",
    find: "if (words[p + 3] !== treeId || Page.level(words, p) !== 0) return false",
    replace: "if (Page.level(words, p) !== 0) return false",
    caughtBy: { file: "hints" }
  },
  {
    name: "hint believed without the prefix",
    breaks: "A key is found in a leaf that does not store what it differs in.",
    file: "tree/page/Leaf.ts",
    find: "if (words[from + word] !== own[at + word]) return false",
    replace: "if (words[from + word] === undefined) return false",
    caughtBy: { file: "hints" }
  },
  {
    name: "hint of a leaf that is not in place",
    breaks: "A leaf that was evicted, or has a mini-page, is read where it was.",
    file: "tree/read/Hints.ts",
    find: "if (!isInPlace(map.state[id] as number)) return 0\n    const meta",
    replace: "if ((map.block[id] as number) < 0) return 0\n    const meta",
    caughtBy: { file: "hints" }
  },
  {
    name: "hint's slot believed without its key",
    breaks: "A key is found where another one with the same hash stands.",
    file: "tree/page/Leaf.ts",
    find: "if (words[key + word] !== own[at + skip + word]) return -1",
    replace: "if (words[key + word] === undefined) return -1",
    caughtBy: { file: "hints" }
  },
  {
    name: "steps of a hint's slot are not searched",
    breaks:
      "Of a step only the first slot is looked at: keys of leaves with many records are looked for in vain.",
    file: "tree/page/Leaf.ts",
    find: "word < at + metas; word++",
    replace: "word < at; word++",
    caughtBy: { file: "hints" }
  },
  {
    name: "hint's record believed though its slot has another",
    breaks:
      "A key is read from the slot of another one, since its own record stood where it is said to stand.",
    file: "tree/page/Leaf.ts",
    find: "words[p + meta] === slot ? meta",
    replace: "(words[p + meta] as number) >>> 16 === stored ? meta",
    caughtBy: { file: "hints" }
  },
  {
    name: "group recalls a record that is too new",
    breaks: "Many keys at once are answered with what was written after the snapshot.",
    file: "tree/read/Hinted.ts",
    find: "if (slot < 0 || Leaf.versionAt(words, record) >= at) return false",
    replace: "if (slot < 0) return false",
    caughtBy: { file: "getMany" }
  },
  {
    name: "group recalls from a leaf that is not in place",
    breaks: "Many keys at once are answered from below what their leaf's mini-page says.",
    file: "tree/read/Hinted.ts",
    find: "if (!isInPlace(state[id] as number)) continue",
    replace: "if ((block[id] as number) < 0) continue",
    caughtBy: { file: "hints" }
  },
  {
    name: "group's keys lose their order",
    breaks: "A key is given the answer of another one of its group.",
    file: "tree/read/GroupKeys.ts",
    find: "rows[to] = rows[index] as number",
    replace: "rows[to] = rows[to] as number",
    caughtBy: { file: "getMany" }
  },
  {
    name: "expiry forgotten where a record is overwritten at once",
    breaks: "The janitor does not learn that a record of the leaf expires.",
    file: "tree/write/InPlace.ts",
    find:
      "const need = Leaf.neededWords(words, p, key.length, value.length, expiry)\n    if (expiry !== Infinity) pages.deadlines.note(id, expiry)",
    replace: "const need = Leaf.neededWords(words, p, key.length, value.length, expiry)",
    caughtBy: { file: "hints" }
  }
]
