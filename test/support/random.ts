/**
 * Chance from a seed, so that a failure replays exactly: the one that users get, whose draws stay the same for ever.
 */
export type { Chance as Random } from "../../src/testing/Chance.ts"
export { make as random } from "../../src/testing/Chance.ts"
