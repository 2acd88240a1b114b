/**
 * How many operations a file of tests has held against a model, over all that it runs.
 */
let operations = 0

/** Counts operations whose effect or answer is compared with that of a model. */
export const modelled = (count: number): void => {
  operations += count
}

export const modelledSoFar = (): number => operations
