/**
 * What a tree should hold, at every LSN, and keys for it that are hard on pages.
 */
import { modelled } from "./modelled.ts"
import type { Random } from "./random.ts"

export interface Row {
  readonly key: string
  readonly value: string
  readonly version: number
  readonly expiry: number
}

/** Keys of many shapes: families with a common prefix, borders of words, zeros and ones, the empty key. */
export const keys = (random: Random, longest = 200): () => string => {
  const letter = (): string => random.pick(["\0", "\x01", "a", "b", "\x7f", "\x80", "\xff"])
  const word = (length: number): string => Array.from({ length }, letter).join("")
  const prefixes = Array.from({ length: 4 }, () => word(random.pick([0, 1, 3, 4, 5, 8, 13, 40, longest - 8])))
  const range = random.pick([20, 300, 5000])
  return () => {
    const shape = random.int(10)
    if (shape < 5) {
      const digits = Buffer.alloc(4)
      digits.writeUInt32BE(random.int(range))
      return random.pick(prefixes) + digits.toString("latin1")
    }
    if (shape < 7) return String(random.int(range))
    if (shape < 9) return word(random.pick([0, 1, 2, 3, 4, 5, 7, 8, 9, 12]))
    return random.pick(prefixes) + word(random.int(8))
  }
}

/** What a tree should hold, at every LSN. */
export class Model {
  private readonly history = new Map<
    string,
    Array<{ readonly version: number; readonly row: Row | undefined }>
  >()

  write(key: string, version: number, row: Row | undefined): void {
    modelled(1)
    const versions = this.history.get(key)
    if (versions === undefined) this.history.set(key, [{ version, row }])
    else versions.push({ version, row })
  }

  get(key: string, at: number): Row | undefined {
    return this.history.get(key)?.findLast(({ version }) => version < at)?.row
  }

  /** Rows at an LSN in key order. */
  rows(at: number): Array<Row> {
    const rows: Array<Row> = []
    for (const key of this.history.keys()) {
      const row = this.get(key, at)
      if (row !== undefined) rows.push(row)
    }
    return rows.sort((a, b) => a.key < b.key ? -1 : 1)
  }

  keys(): Array<string> {
    return [...this.history.keys()]
  }
}
