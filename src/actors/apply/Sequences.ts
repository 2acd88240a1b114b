/**
 * Finding sequences in what is applied: puts of one record of the log whose keys ascend.
 *
 * A part of the Tree. What comes in order is written leaf by leaf; what does not, or not enough of it, one by one. The
 * look must cost those next to nothing that come in any order: after one that was in vain, some writes are not looked
 * at.
 *
 * I1 What is answered is applied, and passed over in the record; of the rest nothing has changed.
 */
import type { RecordReader } from "../../log/RecordReader.ts"
import type { Generations } from "../../tree/Generations.ts"
import type { Tree as Kernel } from "../../tree/Tree.ts"
import { Puts } from "../../tree/write/Puts.ts"

/** Fewer are put one by one. */
const least = 8
/** Writes that are not looked at after a look that found none, and after one that found them in the wrong place. */
const afterNone = 8
const afterElsewhere = 32

export class Sequences {
  private readonly generations: Generations
  private readonly kernel: Kernel
  private readonly puts: Puts
  private passing = 0

  constructor({ generations, kernel }: { readonly generations: Generations; readonly kernel: Kernel }) {
    this.generations = generations
    this.kernel = kernel
    this.puts = new Puts(kernel.pages.arena.pageWords >>> 3)
  }

  /** Applies what it can of the writes from the next one of `reader` on, as of `version`; answers how many. */
  apply(reader: RecordReader, version: number): number {
    if (reader.left < least) return 0
    if (this.passing > 0) {
      this.passing--
      return 0
    }
    const { generations, kernel, puts } = this
    if (puts.find(reader, version) < least) {
      this.passing = afterNone
      return 0
    }
    const applied = kernel.fill(generations.get(puts.keyspace).root, puts)
    if (applied < least) this.passing = afterElsewhere
    if (applied > 0) puts.pass(reader, applied)
    return applied
  }
}
