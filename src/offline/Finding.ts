/**
 * Findings: what is wrong with a store that was looked at, where, and what to do about it.
 *
 * A finding never holds a key or a value. Of a ruin only the first findings are kept; the others are counted.
 */

/** What a finding is about. */
export type Subject =
  | "catalog"
  | "group"
  | "keyspace"
  | "large value"
  | "map table"
  | "mini-page"
  | "page"
  | "page file"
  | "segment"
  | "superblock"

/** Whom it hurts: a checkpoint that is retained, or the log and all who need it. */
export type Role = "newest" | "older" | "log"

export interface Finding {
  readonly subject: Subject
  readonly path: string
  /** Byte offset in the file. */
  readonly offset: number
  readonly expected: string
  readonly actual: string
  /** Version of the checkpoint that refers to it; undefined where it belongs to none. */
  readonly checkpoint: number | undefined
  readonly keyspace: string | undefined
  /** What to do about it. */
  readonly advice: string
}

/** A finding as it is made. */
export interface Found extends Pick<Finding, "subject" | "path" | "offset" | "expected"> {
  readonly actual: string | number
  readonly role: Role
  readonly checkpoint?: number
  readonly keyspace?: string
}

const salvage = "copy what is intact into a new store (npx heartwood salvage), or restore a backup"

const adviceFor = ({ role, subject }: Found): string => {
  if (subject === "superblock") {
    return "if the store still opens, open it and take a checkpoint, which writes this one anew; else "
      + salvage
  }
  if (role === "older") {
    return "only the older checkpoint needs it: open the store and take two checkpoints, which replace it"
  }
  if (subject === "keyspace") return `its numbers are wrong, its records may all be there: ${salvage}`
  return salvage
}

/** Two findings of the same are one, also where both checkpoints refer to it: the newest is looked at first. */
export const nameOf = (
  { actual, expected, offset, path, subject }: Pick<
    Found,
    "subject" | "path" | "offset" | "expected" | "actual"
  >
): string => [subject, path, offset, expected, actual].join("\0")

/** What one look at a store has found. */
export class Findings {
  readonly list: Array<Finding> = []
  /** Findings beyond those that are kept. */
  more = 0
  private readonly most: number
  private readonly names = new Set<string>()

  constructor(most: number) {
    this.most = most
  }

  readonly add = (found: Found): void => {
    const { actual, checkpoint, expected, keyspace, offset, path, subject } = found
    const name = nameOf(found)
    if (this.names.has(name)) return
    if (this.list.length >= this.most) {
      this.more++
      return
    }
    this.names.add(name)
    const advice = adviceFor(found)
    this.list.push({
      subject,
      path,
      offset,
      expected,
      actual: String(actual),
      checkpoint,
      keyspace,
      advice
    })
  }
}
