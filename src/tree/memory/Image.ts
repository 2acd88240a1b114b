/**
 * Images of pages on their way to the disk, and those that writers saved for a checkpoint.
 *
 * An image is a private copy: from when it is taken the page may go on changing.
 */

/** A private copy of a page on its way to the disk. Its checksum is filled in by `seal` (PageCheck.ts). */
export interface Image {
  readonly pageId: number
  /** Whether it is of the base page, or of the mini-page: then as many bytes as it needs, to be packed with others. */
  readonly form: "page" | "mini"
  /** Of the page when the copy was taken. */
  readonly generation: number
  /** The first checkpoint that may refer to the image: the birth of its slot. */
  readonly version: number
  readonly purpose: "cut" | "eviction"
  /** Of a base page: one of the pages' buffers, given back when the image has landed or is lost. */
  readonly bytes: Uint8Array
}

/** Images at the cut of pages that changed since, until somebody writes them. */
export class Captured {
  private images: Array<Image> = []
  bytes = 0
  /** Of those of mini-pages: the others are in buffers, which are counted. */
  miniBytes = 0

  push(image: Image): void {
    this.images.push(image)
    this.bytes += image.bytes.length
    if (image.form === "mini") this.miniBytes += image.bytes.length
  }

  drain(): Array<Image> {
    const { images } = this
    this.images = []
    this.bytes = 0
    this.miniBytes = 0
    return images
  }
}
