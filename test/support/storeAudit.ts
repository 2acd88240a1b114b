/**
 * What must hold in a store that is at rest: its trees, its page ids, its slots, its large values.
 *
 * At rest means that nothing is on its way to or from the disk (`quiesce`).
 */
import type { Machine } from "../../src/Machine.ts"
import { audit } from "../../src/tree/Audit.ts"
import type { Report } from "../../src/tree/Audit.ts"
import * as Page from "../../src/tree/page/Page.ts"
import { verify } from "../../src/tree/page/PageCheck.ts"
import { Batch } from "../../src/tree/read/Batch.ts"
import type { Root } from "../../src/tree/Tree.ts"

const everything = {
  lower: new Uint8Array(0),
  upper: undefined,
  order: "ascending",
  limit: Infinity,
  columns: "keys and values"
} as const

export interface Audited {
  readonly problems: ReadonlyArray<string>
  readonly report: Report
}

/** Audits a store at rest; `pageFile` is the page file as the store would read it. */
export const auditStore = (machine: Machine, pageFile: Pick<Uint8Array, "subarray">): Audited => {
  const { generations } = machine.parts
  const { pages } = machine.tree
  const { pageBytes } = machine.limits
  const image = (slot: number): Uint8Array => pageFile.subarray(slot * pageBytes, (slot + 1) * pageBytes)
  const report = audit({
    pages,
    roots: [...generations.all()].map(({ root }) => root),
    dropping: generations.ended(),
    load: (id) => image(pages.map.slot[id] as number)
  })
  const problems = report.violations.map(({ actual, pageId, rule }) =>
    `page ${pageId}: ${rule}, not ${actual}`
  )
  problems.push(...slotProblems(machine))
  problems.push(...imageProblems(machine, image))
  if (machine.tree.versions.size === 0) problems.push(...largeProblems(machine))
  return { problems, report }
}

/** Every slot that something refers to is live, and nothing else is. */
const slotProblems = ({ parts, tree }: Machine): Array<string> => {
  const { checkpoint, slots } = parts
  const { map, retired } = tree.pages
  const problems: Array<string> = []
  const referred = new Map<number, string>()
  const refer = (slot: number, what: string): void => {
    if (slot === 0) return
    const other = referred.get(slot)
    if (other !== undefined) problems.push(`slot ${slot} belongs to ${other} and ${what}`)
    referred.set(slot, what)
    if (slots.stateOf(slot) !== "live") problems.push(`slot ${slot} of ${what} is ${slots.stateOf(slot)}`)
  }
  for (let id = 1; id < map.bound; id++) {
    const [slot, cutSlot] = [map.slot[id] as number, map.cutSlot[id] as number]
    refer(slot, `page ${id}`)
    if (cutSlot !== slot) refer(cutSlot, `page ${id} at the cut`)
  }
  for (const slot of tree.pages.packs.slots()) refer(slot, "a pack")
  for (const slot of checkpoint.slots()) refer(slot, "the checkpoint's own")
  for (const { slot } of retired) refer(slot, "what is retired next")
  const counts = { free: 0, live: 0, retired: 0, quarantined: 0 }
  for (let slot = 1; slot < slots.slots; slot++) {
    const state = slots.stateOf(slot)
    counts[state]++
    if (state === "live" && !referred.has(slot)) problems.push(`slot ${slot} leaks`)
  }
  const claimed = {
    free: slots.freeCount,
    live: slots.liveSlots,
    retired: slots.retiredCount,
    quarantined: slots.quarantinedCount
  }
  const [is, should] = [counts, claimed].map((each) => JSON.stringify(each))
  if (is !== should) problems.push(`slots are ${is}, counted as ${should}`)
  return problems
}

/** Every image that the newest checkpoint refers to is what it says, even where memory has a newer page. */
const imageProblems = ({ limits, tree }: Machine, image: (slot: number) => Uint8Array): Array<string> => {
  const { map } = tree.pages
  const problems: Array<string> = []
  for (let id = 1; id < map.bound; id++) {
    for (const [slots, checksums] of [[map.slot, map.checksum], [map.cutSlot, map.cutChecksum]] as const) {
      const slot = slots[id] as number
      if (slot === 0) continue
      const checksum = checksums[id] as number
      const checked = verify(image(slot).slice(), { pageId: id, checksum, pageBytes: limits.pageBytes })
      if (checked._tag !== "Sound") {
        problems.push(`slot ${slot} of page ${id}: ${checked.expected}, not ${checked.actual}`)
      }
    }
  }
  return problems
}

const hasMinis = ({ pages: { arena, map } }: Machine["tree"], { treeId }: Root): boolean => {
  for (let id = 1; id < map.bound; id++) {
    const address = map.mini[id] as number
    if (address >= 0 && Page.treeId(arena.wordsOf(address), address & arena.mask) === treeId) return true
  }
  return false
}

/** Each log segment is charged with just the large values that the trees refer to. Needs no version of the past. */
const largeProblems = ({ parts, tree }: Machine): Array<string> => {
  const problems: Array<string> = []
  // Old places of values that were moved, until no reader may want them.
  const past = parts.treeActor.charges.past()
  for (const { large, name, root } of parts.generations.all()) {
    const expected = new Map<number, number>()
    const charge = (lsn: number, bytes: number): void => {
      const base = parts.segments.baseOf(lsn)
      expected.set(base, (expected.get(base) ?? 0) + bytes)
    }
    // What a blind write replaces in a base page stays charged until the two are merged.
    if (hasMinis(tree, root)) continue
    for (const { base, bytes, treeId } of past) if (treeId === root.treeId) charge(base, bytes)
    const batch = new Batch()
    let lower: Uint8Array = everything.lower
    for (let answer = 1; answer === 1;) {
      batch.reset()
      answer = tree.scan(root, { ...everything, lower }, Infinity, batch)
      // Pages that are not in memory would have to be loaded: counting goes without them then.
      if (answer < 0) return problems
      for (let index = 0; index < batch.count; index++) {
        const reference = batch.reference(index)
        if (reference !== undefined) charge(reference.lsn, reference.bytes)
      }
      lower = batch.position ?? lower
    }
    const [is, should] = [large, expected].map((map) => JSON.stringify([...map].sort(([a], [b]) => a - b)))
    if (is !== should) problems.push(`keyspace ${name} has large values ${should}, and charges ${is}`)
  }
  return problems
}
