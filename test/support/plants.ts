/**
 * Faults that are planted into the engine from outside, so that the checkers of histories can show what they find.
 *
 * The engine has no switch for any of them: methods are replaced for as long as a test runs, and put back.
 */
import * as Exit from "effect/Exit"
import { hashOf, ReadSet } from "../../src/actors/commit/ReadSet.ts"
import type { RangeRead } from "../../src/actors/commit/ReadSet.ts"
import { Sessions } from "../../src/actors/commit/Sessions.ts"
import { Window } from "../../src/actors/commit/Window.ts"
import { Running } from "../../src/Running.ts"
import { View } from "../../src/View.ts"
import { WriteSet } from "../../src/WriteSet.ts"
import type { Problem } from "./historyReplay.ts"
import type { Sabotage } from "./historyRun.ts"

export interface Plant extends Sabotage {
  readonly name: string
  /** Checkers that see it, each by itself. */
  readonly seenBy: ReadonlyArray<Problem["checker"]>
  /** Breaks something; answers what mends it. */
  readonly install?: () => () => void
}

/** Replaces a method; answers what puts it back. */
const replaced =
  <T extends object, K extends keyof T>(target: T, name: K, make: (original: T[K]) => T[K]) => () => {
    const original = target[name]
    target[name] = make(original)
    return () => {
      target[name] = original
    }
  }

/** The same view, looking further than it may. */
const beyond = (view: View): View => Object.create(view, { at: { value: Number.MAX_SAFE_INTEGER } }) as View

const everything = (): () => void => {
  const { getMany, look, scan } = View.prototype
  View.prototype.look = function(...args) {
    return look.apply(beyond(this), args)
  }
  View.prototype.getMany = function(...args) {
    return getMany.apply(beyond(this), args)
  }
  View.prototype.scan = function(...args) {
    return scan.apply(beyond(this), args)
  }
  return () => Object.assign(View.prototype, { getMany, look, scan })
}

export const plants: ReadonlyArray<Plant> = [
  {
    name: "no validation",
    seenBy: ["replay", "cycles", "registers", "bank"],
    install: replaced(Window.prototype, "conflict", () => () => undefined)
  },
  {
    name: "no validation of keys",
    seenBy: ["replay", "cycles", "registers", "bank"],
    install: replaced(ReadSet.prototype, "key", () =>
      function(this: ReadSet) {
        this.size++
      })
  },
  {
    name: "no validation of ranges",
    seenBy: ["replay"],
    install: replaced(ReadSet.prototype, "range", () =>
      function(this: ReadSet, space: number): RangeRead {
        this.size++
        return { space, lower: undefined, upper: undefined }
      })
  },
  {
    // What is written is not validated as read: of two that read and write one record, both pass.
    name: "lost update",
    seenBy: ["replay", "cycles", "registers", "bank"],
    install: replaced(Running.prototype, "put", (put) =>
      function(this: Running, keyspace, key, value) {
        const { hashes, spaces } = this.reads
        const own = spaces.map((space) => hashOf(space, key))
        const kept = hashes.filter((hash) => !own.includes(hash))
        hashes.splice(0, hashes.length, ...kept)
        return put.call(this, keyspace, key, value)
      })
  },
  { name: "dirty reads", seenBy: ["snapshot", "replay", "cycles", "bank"], install: everything },
  {
    name: "steps that failed and are kept",
    seenBy: ["replay"],
    install: replaced(WriteSet.prototype, "restore", () => () => {})
  },
  {
    // Of what is visible, every other snapshot shows only what is durable; if all did, who lost would lose for ever.
    name: "stale snapshot",
    seenBy: ["realtime", "cycles", "registers"],
    store: (store) => {
      const { machine } = store
      let asked = 0
      const visible = (): number => asked++ % 2 === 0 ? machine.tree.versions.pins.durable : machine.visible()
      return { ...store, machine: { ...machine, visible } }
    }
  },
  {
    // Whoever opens a session is told of one serial less than it has committed, which is so taken again.
    name: "serial accepted twice",
    seenBy: ["sessions"],
    install: replaced(Sessions.prototype, "claim", (claim) =>
      function(this: Sessions, name) {
        const opened = claim.call(this, name)
        if (Exit.isSuccess(opened) && opened.value.last.serial > 0) {
          const { last } = opened.value
          opened.value.last = { ...last, serial: last.serial - 1 }
        }
        return opened
      })
  },
  {
    // What was acknowledged as synced never reached the medium.
    name: "lost syncs of the log",
    seenBy: ["durability"],
    disk: (faults) =>
      faults.fail({ operation: "sync", path: /\/log-/, times: Infinity, outcome: { _tag: "Lost" } })
  }
]
