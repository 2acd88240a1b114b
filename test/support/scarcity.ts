/**
 * Hardly any memory for a world: the ring has a few frames beside the inner pages and the reserve, however many inner
 * pages there are, so that everything that can happen to a leaf happens all the time.
 */
import { State } from "../../src/tree/memory/MapTable.ts"
import { NoSpace } from "../../src/tree/Tree.ts"
import type { World } from "./world.ts"

/** Blocks that merges may count on: a merge into a tree of three levels may ask for eleven beside its page. */
const reserve = 16

export class Scarcity {
  private readonly world: World
  private readonly frames: number
  /** Pages made and loaded when memory was limited last. */
  private made = -1
  /** Blocks that the operation at hand needs for once. */
  private more = 0

  constructor(world: World, frames: number) {
    this.world = world
    this.frames = frames
    world.limit = () => this.limit()
    this.limit()
  }

  private limit(): void {
    const { arena, tree } = this.world
    const { created, map } = tree.pages
    const made = created + this.world.loads
    if (made === this.made) return
    this.made = made
    let inner = 0
    for (let id = 1; id < map.bound; id++) {
      if ((map.block[id] as number) >= 0 && ((map.state[id] as number) & State.Inner) !== 0) inner++
    }
    arena.reserve = reserve
    arena.limit = inner + reserve + this.frames + this.more
  }

  /** Runs an operation; one that asks for more room than there is gets it for as long as it takes. */
  run(operation: () => number): number {
    const { tree } = this.world
    const answer = this.world.run(() => {
      this.limit()
      const answer = operation()
      if (answer !== NoSpace) return answer
      this.more = Math.max(this.more, tree.blocksNeeded)
      this.made = -1
      this.limit()
      return answer
    })
    if (this.more > 0) this.made = -1
    this.more = 0
    return answer
  }
}
