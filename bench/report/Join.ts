/**
 * Several runs as one: a profile takes longer than a machine may stay quiet.
 *
 * A section is whole, of one run: ratios are those of engines that took turns. Where two runs have it the later one
 * counts.
 */
import type { Results } from "../compare/Results.ts"

/** Of a run, what is of it: its sections by name. */
export interface Part {
  readonly begun: string
  readonly profile: string
  readonly revision: string
  readonly load: number
  readonly sections: ReadonlyArray<string>
}

export interface Joined extends Results {
  readonly parts: ReadonlyArray<Part>
}

/** Joins at least one run; machine and profile are those of the latest. */
export const join = (runs: ReadonlyArray<Results>): Joined => {
  const inOrder = runs.toSorted((a, b) => a.begun.localeCompare(b.begun))
  const latest = inOrder.at(-1)
  if (latest === undefined) throw new RangeError("there are no runs to be joined")
  const ofSection = new Map(inOrder.flatMap((run) => run.sections.map(({ name }) => [name, run] as const)))
  const parts = inOrder.map((run) => {
    const names = run.sections.map(({ name }) => name)
    const { begun, machine: { load, revision }, profile } = run
    return { begun, profile, revision, load, sections: names.filter((name) => ofSection.get(name) === run) }
  })
  return {
    ...latest,
    seconds: inOrder.reduce((sum, { seconds }) => sum + seconds, 0),
    versions: Object.assign({}, ...inOrder.map(({ versions }) => versions)) as Results["versions"],
    sections: [...ofSection].flatMap(([name, { sections }]) => sections.filter((each) => each.name === name)),
    notes: [...new Set(inOrder.flatMap(({ notes }) => notes))],
    parts: parts.filter(({ sections }) => sections.length > 0)
  }
}
