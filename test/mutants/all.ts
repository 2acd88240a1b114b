/**
 * All mutants, by the rooms that they are in.
 */
import { disk } from "./disk.ts"
import { log } from "./log.ts"
import type { Mutant } from "./Mutant.ts"
import { program } from "./program.ts"
import { tree } from "./tree.ts"

export const mutants: ReadonlyArray<Mutant> = [...disk, ...log, ...tree, ...program]
