/**
 * Where the log ends: torn tail or corruption, as a decision table.
 *
 * X is where the next group should begin and no valid one does; D is the largest durable LSN that a superblock or a
 * group of this store claims. Below D everything was synced, so its loss is corruption and is never cut off; at or
 * above D nothing was acknowledged, so the end is torn, whatever follows it. What a crash cannot leave behind is
 * corruption at any address: cutting there would throw away someone's data.
 */

const founds = [
  /** The bytes at X are no group, or one that does not continue the chain. */
  "no group",
  /** The same, and the file is shorter than its header says: a segment has its length before it has its name. */
  "short segment",
  /** A group of this store stands at X and is whole, but of a format to come. */
  "newer group",
  /** The group at X is whole and chained, but what it says breaks the rules: not the work of a crash. */
  "broken group",
  "missing segment",
  /** Its header does not validate. */
  "damaged segment",
  /** Its header is that of another store. */
  "foreign segment",
  /** Its header has another sequence than its name: duplicated, renamed or swapped. */
  "misplaced segment",
  /** Its header is valid but does not continue at X. */
  "displaced segment",
  "newer segment"
] as const

const positions = ["below D", "from D on"] as const

export type Found = (typeof founds)[number]
export interface EndFacts {
  readonly found: Found
  /** X against D. */
  readonly position: (typeof positions)[number]
}

export type EndVerdict = "torn tail" | "corrupted" | "too new"

export interface EndRow {
  readonly found: ReadonlyArray<Found>
  readonly position: ReadonlyArray<EndFacts["position"]>
  readonly verdict: EndVerdict
}

/** All values of each fact, for whoever wants to walk them. */
export const endFacts = { found: founds, position: positions } as const

/**
 * The segment of the cut was durable before the superblock that names it, and every later one before the seal that
 * leads to it was written, so no crash takes one away, shortens it, or leaves another in its place. A `log-…` name has
 * a valid header of this store and that sequence before it exists (see Segment.ts), so a foreign or misplaced one was
 * put there.
 */
export const endTable: ReadonlyArray<EndRow> = [
  { found: ["newer group", "newer segment"], position: positions, verdict: "too new" },
  { found: ["broken group"], position: positions, verdict: "corrupted" },
  { found: ["foreign segment", "misplaced segment"], position: positions, verdict: "corrupted" },
  {
    found: ["missing segment", "damaged segment", "displaced segment", "short segment"],
    position: positions,
    verdict: "corrupted"
  },
  { found: ["no group"], position: ["below D"], verdict: "corrupted" },
  { found: ["no group"], position: ["from D on"], verdict: "torn tail" }
]

export const meetsEnd = (row: EndRow, facts: EndFacts): boolean =>
  row.found.includes(facts.found) && row.position.includes(facts.position)

/** The verdict of the one row that the facts meet; without one the answer is the safe one. */
export const endVerdict = (facts: EndFacts): EndVerdict =>
  endTable.find((row) => meetsEnd(row, facts))?.verdict ?? "corrupted"
