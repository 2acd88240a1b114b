/**
 * Dice: chance for what happens now and then, the same for the same seed.
 *
 * Xorshift (Marsaglia 2003): three shifts a roll, nothing allocated. It must not decide what a reader is told, only
 * what is remembered.
 */
export interface DiceOptions {
  /** Rolls that are hits. */
  readonly percent: number
  readonly seed: number
}

export class Dice {
  /** Of 2³²: a hit is below. */
  private readonly hits: number
  private state: number

  constructor(options: DiceOptions) {
    this.hits = options.percent / 100 * 2 ** 32
    // Nothing follows from zero but zero.
    this.state = options.seed | 1
  }

  roll(): boolean {
    let state = this.state
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.state = state
    return state >>> 0 < this.hits
  }
}
