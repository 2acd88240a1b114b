/**
 * Memory that another thread touches first: one of libuv's reads zeros into it from the device that has no end of them.
 *
 * Node has no other call by which a thread of its own writes to given memory and computes nothing. Where there is no
 * such device (Windows), there is none.
 */
import fs from "node:fs"
import type { Disk } from "./Disk.ts"

const device = "/dev/zero"

export const nodePopulate = (): Disk["Service"]["populate"] => isThere() ? populate : undefined

const isThere = (): boolean => {
  try {
    return fs.statSync(device).isCharacterDevice()
  } catch {
    return false
  }
}

const populate = (memory: Uint8Array, done: () => void): void => {
  let fd: number
  try {
    fd = fs.openSync(device, fs.constants.O_RDONLY)
  } catch {
    // No descriptor is left, say. Whoever asked touches it as before.
    return done()
  }
  fs.read(fd, memory, 0, memory.length, null, () => {
    fs.closeSync(fd)
    done()
  })
}
