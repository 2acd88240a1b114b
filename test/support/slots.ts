/**
 * The disk of a world: images in slots, and the two retained checkpoints, which refer to them.
 *
 * A slot dies as early as it may, so that whoever uses one too long is found out; no slot is used twice.
 */
import { assert } from "@effect/vitest"

export interface Place {
  readonly slot: number
  readonly checksum: number
}

/** Where each page of a checkpoint is. */
export interface Checkpoint {
  readonly version: number
  readonly slots: Map<number, Place>
  readonly packs: Map<number, Place>
}

export class Slots {
  readonly images = new Map<number, Uint8Array>()
  /** Older first. */
  checkpoints: Array<Checkpoint> = []
  private next = 1
  private dying: Array<{ readonly slot: number; readonly version: number }> = []

  add(image: Uint8Array): number {
    const slot = this.next++
    this.images.set(slot, image)
    return slot
  }

  get(slot: number): Uint8Array {
    return this.images.get(slot) ?? assert.fail(`slot ${slot} is free`)
  }

  /** The version of the newest checkpoint that refers to a slot; one that none ever referred to dies at once. */
  retire(slot: number, version: number): void {
    if (!this.images.has(slot)) assert.fail(`slot ${slot} was retired before`)
    if (version === 0) this.kill(slot)
    else this.dying.push({ slot, version })
  }

  private kill(slot: number): void {
    for (const { packs, slots, version } of this.checkpoints) {
      for (const places of [slots, packs]) {
        for (const [id, place] of places) {
          if (place.slot === slot) assert.fail(`checkpoint ${version} needs slot ${slot} for page ${id}`)
        }
      }
    }
    this.images.delete(slot)
  }

  /** A checkpoint is complete: the one before the last is given up. */
  retain(checkpoint: Checkpoint): void {
    this.checkpoints = [...this.checkpoints.slice(-1), checkpoint]
  }

  /** What only checkpoints referred to that are given up dies. */
  bury(): void {
    const older = this.checkpoints.length === 2 ? this.checkpoints[0]?.version ?? 0 : 0
    for (const { slot } of this.dying.filter(({ version }) => version <= older)) this.kill(slot)
    this.dying = this.dying.filter(({ version }) => version > older)
  }

  /** The disk as this checkpoint has it. */
  at(checkpoint: Checkpoint): Slots {
    const slots = new Slots()
    slots.next = this.next
    slots.checkpoints = [checkpoint]
    for (const places of [checkpoint.slots, checkpoint.packs]) {
      for (const { slot } of places.values()) slots.images.set(slot, this.get(slot))
    }
    return slots
  }
}
