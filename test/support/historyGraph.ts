/**
 * Who must come before whom, and the cycles in that: a history with one is not serializable.
 *
 * | edge | from → to                                                        |
 * |------|------------------------------------------------------------------|
 * | `ww` | wrote a version → wrote the next one                             |
 * | `wr` | wrote a version → read it                                        |
 * | `rw` | read a version → wrote the next one                              |
 * | `rt` | had ended → began later                                          |
 *
 * The names of cycles are those of Adya (Weak Consistency, 1999) as Elle uses them (Kingsbury and Alvaro, Elle, VLDB
 * 2020): G0 has only `ww`, G1c a `wr` and no `rw`, G-single one `rw`, G2 several; with `-realtime` where a cycle needs
 * the order in time.
 */

/** What one transaction did to the objects of a checker. */
export interface Observed<Op> {
  readonly id: number
  readonly invoked: number
  /** Infinity while nobody knows that it has ended. */
  readonly ended: number
  /** `info`: nobody knows whether it was committed. Then what it read says nothing. */
  readonly status: "ok" | "fail" | "info"
  /** There where it had ended before anybody could see it: who began then need not come after it. */
  readonly unseen?: true | undefined
  readonly ops: ReadonlyArray<Op>
}

/** Something that no serializable store shows. */
export interface Anomaly {
  readonly name: string
  readonly text: string
}

type Kind = "ww" | "wr" | "rw" | "rt"

interface Edge {
  readonly from: number
  readonly to: number
  readonly kind: Kind
  readonly why: string
}

export class Graph {
  private readonly out = new Map<number, Array<Edge>>()
  private readonly edges: Array<Edge> = []

  /** Nobody comes before itself. */
  add(kind: Kind, from: number, to: number, why: string): void {
    if (from === to) return
    const edge = { from, to, kind, why }
    this.edges.push(edge)
    const known = this.out.get(from)
    if (known === undefined) this.out.set(from, [edge])
    else known.push(edge)
  }

  /** Who had ended comes before who began later; what began at `until` or later is in no such order. */
  addTime(observed: ReadonlyArray<Observed<unknown>>, until: number): void {
    for (const later of observed) {
      if (later.ended >= until || later.status !== "ok") continue
      for (const earlier of observed) {
        if (earlier.status === "ok" && earlier.unseen !== true && earlier.ended < later.invoked) {
          this.add("rt", earlier.id, later.id, "had ended before it began")
        }
      }
    }
  }

  /** The worst kind of cycle that there is, by the shortest of that kind. */
  cycles(): ReadonlyArray<Anomaly> {
    const kinds: ReadonlyArray<readonly [name: string, first: Kind, rest: ReadonlyArray<Kind>]> = [
      ["G0", "ww", ["ww"]],
      ["G1c", "wr", ["ww", "wr"]],
      ["G-single", "rw", ["ww", "wr"]],
      ["G2", "rw", ["ww", "wr", "rw"]]
    ]
    for (const suffix of ["", "-realtime"]) {
      for (const [name, first, rest] of kinds) {
        const allowed = new Set<Kind>(suffix === "" ? rest : [...rest, "rt"])
        const cycle = this.shortest(first, allowed)
        if (cycle !== undefined) return [{ name: name + suffix, text: story(cycle) }]
      }
    }
    return []
  }

  private shortest(first: Kind, allowed: ReadonlySet<Kind>): ReadonlyArray<Edge> | undefined {
    let best: ReadonlyArray<Edge> | undefined
    for (const edge of this.edges) {
      if (edge.kind !== first) continue
      const back = this.path(edge.to, edge.from, allowed)
      if (back !== undefined && (best === undefined || back.length + 1 < best.length)) best = [edge, ...back]
    }
    return best
  }

  /** The shortest path along edges of some kinds. */
  private path(from: number, to: number, allowed: ReadonlySet<Kind>): ReadonlyArray<Edge> | undefined {
    const cameBy = new Map<number, Edge>()
    let frontier = [from]
    while (frontier.length > 0) {
      const next: Array<number> = []
      for (const node of frontier) {
        for (const edge of this.out.get(node) ?? []) {
          if (!allowed.has(edge.kind) || cameBy.has(edge.to)) continue
          cameBy.set(edge.to, edge)
          if (edge.to === to) return walked(cameBy, from, to)
          next.push(edge.to)
        }
      }
      frontier = next
    }
    return undefined
  }
}

/** The edges by which a node was reached. */
const walked = (cameBy: ReadonlyMap<number, Edge>, from: number, to: number): ReadonlyArray<Edge> => {
  const edges: Array<Edge> = []
  let node = to
  do {
    const edge = cameBy.get(node) as Edge
    edges.unshift(edge)
    node = edge.from
  } while (node !== from)
  return edges
}

const story = (cycle: ReadonlyArray<Edge>): string =>
  cycle.map(({ from, kind, to, why }) => `T${from} -${kind}→ T${to} (${why})`).join(", ")
