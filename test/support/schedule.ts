/**
 * The schedule of the tests is the one that users get.
 */
export { calm, Schedule } from "../../src/testing/Schedule.ts"
