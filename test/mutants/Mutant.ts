/**
 * A mutant: the engine with one small thing wrong, and the suite that must see it.
 *
 * I1 What is to be found stands exactly once in the file: a mutant that no longer says what it means is an error, not
 *    a mutant that was caught.
 */
export interface Mutant {
  readonly name: string
  /** What it breaks, in one sentence. */
  readonly breaks: string
  /** Below `src`. */
  readonly file: string
  readonly find: string
  readonly replace: string
  readonly caughtBy: Suite
}

/** The smallest part of the tests that sees a mutant. */
export interface Suite {
  /** Below `test`, without its ending. */
  readonly file: string
  /** Only the tests whose names match. */
  readonly tests?: string
  /** Whether never to end is how it is seen: then the time that is up counts as caught. */
  readonly hangs?: "may hang"
}

/** The source with the mutant in it; undefined where what is to be found is not there exactly once. */
export const mutated = (source: string, { find, replace }: Mutant): string | undefined => {
  const at = source.indexOf(find)
  if (at < 0 || source.includes(find, at + 1)) return undefined
  return source.slice(0, at) + replace + source.slice(at + find.length)
}
