/**
 * Exclusive turns: nobody else commits while a transaction that lost twice runs once more.
 *
 * ```
 *   ask ──▶ waiting ── next ──▶ held ── its commit was decided, or end ──▶ over
 *              └── end: asked for no more ──▶ over
 * ```
 *
 * I1 One turn is held at a time; they are given in the order in which they were asked for.
 * I2 A turn holds back commits of others, and nothing else: no read, sync, cut or load.
 */
import * as Exit from "effect/Exit"
import type { StoreError } from "../../StoreError.ts"
import type { Reply } from "../loop/Actor.ts"

export interface Turn {
  state: "waiting" | "held" | "over"
  /** Told once, when the turn begins or never will. */
  readonly done: Reply<void, StoreError>
}

export class Turns {
  private readonly asked: Array<Turn> = []
  private held: Turn | undefined
  /** Turns that were given. */
  count = 0

  /** Those that wait for theirs. */
  get waiting(): number {
    return this.asked.length
  }

  /** Whether somebody holds the turn. */
  get isHeld(): boolean {
    return this.held !== undefined
  }

  /** Whether a commit may pass: it is made in the turn, or nobody holds it. */
  admits(turn: Turn | undefined): boolean {
    return this.held === undefined || this.held === turn
  }

  ask(turn: Turn): void {
    this.asked.push(turn)
  }

  end(turn: Turn): void {
    turn.state = "over"
    if (this.held === turn) this.held = undefined
  }

  /** The turn that begins now; undefined where none can. Whoever asks tells it. */
  next(): Turn | undefined {
    if (this.held !== undefined || this.asked.length === 0) return undefined
    let turn = this.asked.shift()
    while (turn?.state === "over") turn = this.asked.shift()
    if (turn === undefined) return undefined
    turn.state = "held"
    this.held = turn
    this.count++
    return turn
  }

  failAll(error: StoreError): void {
    for (const turn of this.asked.splice(0)) turn.done(Exit.fail(error))
  }
}
