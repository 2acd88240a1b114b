/**
 * For tests of programs on a store: `heartwood/testing`.
 *
 * - `CrashTest` runs a program, cuts the power at hundreds of places, and checks what is found then.
 * - `FaultDisk` is the disk under it: power cuts, kills, refusals, failed syncs, rot, all from a seed.
 * - `Schedule` decides from a seed what happens next, and keeps the clock.
 */
export * as FaultDisk from "./disk/FaultDisk.ts"
export * as CrashTest from "./testing/CrashTest.ts"
export * as Schedule from "./testing/Schedule.ts"
