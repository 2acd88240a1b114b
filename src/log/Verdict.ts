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
  /** Its header is valid but does not continue at X: left over from a tail that was cut off. */
  "displaced segment",
  "newer segment"
] as const

/** Which segment it is about: the one of the cut (or one before, back to begin), or a later one. */
const wheres = ["first", "later"] as const
const positions = ["below D", "from D on"] as const

export type Found = (typeof founds)[number]
export interface EndFacts {
  readonly found: Found
  readonly where: (typeof wheres)[number]
  /** X against D. */
  readonly position: (typeof positions)[number]
}

export type EndVerdict = "torn tail" | "corrupted" | "too new"

export interface EndRow {
  readonly found: ReadonlyArray<Found>
  readonly where: ReadonlyArray<EndFacts["where"]>
  readonly position: ReadonlyArray<EndFacts["position"]>
  readonly verdict: EndVerdict
}

/** All values of each fact, for whoever wants to walk them. */
export const endFacts = { found: founds, where: wheres, position: positions } as const

/**
 * The segment of the cut was durable before the superblock that names it, so no crash takes it away. A `log-…`
 * name has a valid header of this store and that sequence before it exists (see Segment.ts), so a foreign or
 * misplaced one was put there; a later one may be missing or left over, because it may not have been synced yet.
 */
export const endTable: ReadonlyArray<EndRow> = [
  { found: ["newer group", "newer segment"], where: wheres, position: positions, verdict: "too new" },
  { found: ["broken group"], where: wheres, position: positions, verdict: "corrupted" },
  {
    found: ["foreign segment", "misplaced segment"],
    where: wheres,
    position: positions,
    verdict: "corrupted"
  },
  { found: ["no group"], where: wheres, position: ["below D"], verdict: "corrupted" },
  { found: ["no group"], where: wheres, position: ["from D on"], verdict: "torn tail" },
  {
    found: ["missing segment", "damaged segment", "displaced segment"],
    where: ["first"],
    position: positions,
    verdict: "corrupted"
  },
  {
    found: ["missing segment", "damaged segment", "displaced segment"],
    where: ["later"],
    position: ["below D"],
    verdict: "corrupted"
  },
  {
    found: ["missing segment", "damaged segment", "displaced segment"],
    where: ["later"],
    position: ["from D on"],
    verdict: "torn tail"
  }
]

export const meetsEnd = (row: EndRow, facts: EndFacts): boolean =>
  row.found.includes(facts.found) && row.where.includes(facts.where) && row.position.includes(facts.position)

/** The verdict of the one row that the facts meet; without one the answer is the safe one. */
export const endVerdict = (facts: EndFacts): EndVerdict =>
  endTable.find((row) => meetsEnd(row, facts))?.verdict ?? "corrupted"
