/**
 * The checker of crash states sees what it is there for: with a disk that forgets one sync, there is a state that it
 * refuses.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Fault } from "../src/disk/FaultDisk.ts"
import { CrashCheck } from "./support/crashCheck.ts"
import { runWork } from "./support/crashRun.ts"
import { checkpoints, commits, truncation } from "./support/crashWork.ts"
import type { Work } from "./support/crashWork.ts"

/** A work does not come to every state: with one of these each is seen, with most of them all are. */
const seeds = [1, 2, 3, 4]

const plants: ReadonlyArray<
  readonly [what: string, work: Work, fault: Omit<Fault, "outcome">, message: RegExp]
> = [
  [
    "of the log",
    commits,
    { operation: "sync", path: /log-/, times: 2 },
    /log-\d+ is damaged|acknowledged/
  ],
  [
    "of the page file",
    checkpoints,
    { operation: "sync", path: /pages/ },
    /pages is damaged|the store is damaged.*pages/
  ],
  ["of a superblock", truncation, { operation: "sync", path: /super/ }, /log-\S+ is damaged/],
  ["of the directory", commits, { operation: "syncDirectory", times: 2 }, /log-\d+ is damaged|acknowledged/]
]

describe("a crash state is refused after a sync was lost", () => {
  for (const [what, work, fault, message] of plants) {
    it(what, () => {
      const refusal = (seed: number): string | undefined => {
        const { options, shots } = runWork(work, seed, {
          before: (faults) => faults.fail({ ...fault, outcome: { _tag: "Lost" } })
        })
        const check = new CrashCheck(
          options,
          { verify: 20, confirm: 100, nest: 10_000, deepen: 10_000 },
          seed
        )
        try {
          check.all(shots.taken.values())
          return undefined
        } catch (error) {
          return String(error)
        }
      }
      let found: string | undefined
      for (const seed of seeds) found ??= refusal(seed)
      assert.match(found ?? "every state was accepted", message)
    }, 120_000)
  }
})
