/**
 * What a file of tests has counted: how many states, faults, operations it has tried. `npm test` ends with a table of
 * all of it (`figureTable.ts`); `HEARTWOOD_FIGURES=1` prints each at once, too, with everything that it says.
 *
 * - I1 A title begins with a row of the matrix; equal titles of a run are one line, and their numbers are added up.
 * - I2 What is printed at once writes numbers as `name: 12`, which the table never does: whoever adds up numbers of an
 *   output finds each once.
 */

/** The rows that every full run has figures of, and what they try. */
export const matrix = {
  C1: "crashes at every operation of the disk",
  C2: "crashes of recoveries",
  C3: "faults at every operation of the disk",
  C4: "faults during recoveries, and after faults",
  M1: "operations held against a model",
  M2: "all small trees and schedules",
  S1: "seeded schedules of transactions",
  X1: "flipped bits",
  X2: "lengths, sectors and files",
  X3: "hostile files",
  R1: "processes that are killed",
  R5: "faults of system calls",
  R6: "file systems and limits of the system",
  L1: "limits",
  T1: "lines of the sources"
} as const

export type Row = keyof typeof matrix
export type Counts = Readonly<Record<string, number>>

export type Title = `${Row} ${string}`

export interface Figure {
  readonly title: Title
  readonly counts: Counts
}

const found: Array<Figure> = []

/** Whether figures are to be printed at once. */
export const isAsked = process.env["HEARTWOOD_FIGURES"] !== undefined

/**
 * Says what was counted. The first count is the figure, the next few are in the table too.
 *
 * `more` is printed only where figures are printed at once.
 */
export const figure = <C extends { readonly [N in keyof C]: number }>(
  title: Title,
  counts: C,
  ...more: ReadonlyArray<unknown>
): void => {
  found.push({ title, counts: Object.fromEntries(Object.entries<number>(counts)) })
  if (isAsked) console.log(title, counts, ...more)
}

/** All that this file of tests has said. */
export const figuresSoFar = (): ReadonlyArray<Figure> => found
