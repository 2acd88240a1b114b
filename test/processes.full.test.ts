/**
 * A process on a disk that is really full, and under the limits of its system: what refuses is a file system or the
 * kernel. It ends with a typed error or waits, what it reads is right, and with space again everything acknowledged is
 * there and writing goes on, in the same life or the next.
 *
 * `HEARTWOOD_FIGURES=1` prints what happened. File systems are mounted in a name space of their own, which goes with
 * its processes; where that is not allowed, those tests say that they are skipped.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { bundle } from "./support/bundle.ts"
import { figure } from "./support/figures.ts"

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-full-"))
const mount = path.join(directory, "mount")
const image = path.join(directory, "image")
fs.mkdirSync(mount)

const shell = (script: string) => spawnSync("sh", ["-ec", script], { encoding: "utf8", timeout: 100_000 })
const inSpace = (script: string) =>
  spawnSync("unshare", ["-m", "sh", "-ec", script], { encoding: "utf8", timeout: 100_000 })

/** Two file systems, and how to mount them. */
const places = {
  "a tmpfs of 3 MiB": `mount -t tmpfs -o size=3m tmpfs ${mount}`,
  "an ext4 of 16 MiB":
    `truncate -s 16M ${image} && mkfs.ext4 -q -F -m 0 ${image} && mount -o loop ${image} ${mount}`,
  "an ext4 without inodes": `truncate -s 16M ${image} && mkfs.ext4 -q -F -m 0 -N 64 ${image} && `
    + `mount -o loop ${image} ${mount}`
}
/** Why one cannot be tested here. */
const lacking = (how: string): string => {
  const { error, status } = inSpace(how)
  if (error !== undefined) return " (skipped: no unshare)"
  return status === 0 ? "" : " (skipped: may not mount)"
}

let worker = ""
beforeAll(async () => {
  worker = await bundle(path.join(import.meta.dirname, "processes", "filler.ts"), directory)
})
let isDone = true
// Kept where something was found.
afterAll(() => isDone && fs.rmSync(directory, { recursive: true }))

const filler = (mode: string, store: string, acknowledged: string, ballast = ""): string =>
  [process.execPath, "--disable-warning=ExperimentalWarning", worker, mode, store, acknowledged, ballast]
    .join(" ")

/** What the processes of a script said; each must have ended well. */
const said = ({ signal, status, stderr, stdout }: ReturnType<typeof shell>): string => {
  isDone = false
  assert.strictEqual(status, 0, `${signal ?? ""} ${stdout} ${stderr}, in ${directory}`)
  isDone = true
  figure("R6 full disks and limits", {
    runs: 1,
    commits: Number(/(\d+) commits were there/.exec(stdout)?.[1] ?? 0)
  }, stdout.trim())
  return stdout
}

describe("a disk that is full", () => {
  for (const [name, how] of Object.entries(places)) {
    const why = lacking(how)
    it.skipIf(why !== "")(
      `${name}: refused in time, and writing goes on when there is space again${why}`,
      () => {
        const [store, ballast] = [path.join(mount, "store"), path.join(mount, "ballast")]
        const acknowledged = path.join(directory, name.replaceAll(" ", "-"))
        // All of the space but 2 MiB is taken by what will be given up; or all inodes but 16.
        const taking = name.endsWith("inodes")
          ? `mkdir ${ballast}; for each in $(seq 16 $(df --output=iavail ${mount} | tail -1)); do touch ${ballast}/$each; done`
          : `head -c $(( ($(df --output=avail -k ${mount} | tail -1) - 2048) * 1024 )) /dev/zero > ${ballast}`
        const stdout = said(inSpace([
          how,
          taking,
          filler("fill", store, acknowledged, ballast),
          filler("resume", store, acknowledged),
          `umount ${mount}`
        ].join("\n")))
        // Without inodes the log cannot go on in another file, and nobody is told before; else writing goes on by itself.
        const expected = name.endsWith("inodes")
          ? /^\d\d+ commits, then (ENOSPC|waits|DiskFull); reads; with space again/m
          : /^\d\d+ commits, then DiskFull; reads; with space again \d+ more, well/m
        assert.match(stdout, expected)
        assert.match(stdout, /commits were there/)
      },
      120_000
    )
  }
})

describe("limits of the system", () => {
  it("files that may not grow: refused in time, and everything is there without the limit", () => {
    const [store, acknowledged] = [path.join(directory, "small"), path.join(directory, "small.acknowledged")]
    // In blocks of 512 bytes.
    const limited = `(ulimit -f 600; ${filler("fill", store, acknowledged)})`
    const stdout = said(shell(`${limited}\n${filler("resume", store, acknowledged)}`))
    assert.match(stdout, /^\d\d+ commits, then DiskFull; reads/m)
    assert.match(stdout, /WARN .* Commits are refused: .*\/pages may not grow/)
    assert.match(stdout, /commits were there/)
  }, 120_000)

  it("no descriptors left: EMFILE until there are enough, and none is lost by trying", () => {
    const [store, acknowledged] = [path.join(directory, "few"), path.join(directory, "few.acknowledged")]
    const stdout = said(shell(`ulimit -n 160\n${filler("open", store, acknowledged)}`))
    assert.match(stdout, /^opens with \d+ descriptors; before, (EMFILE ?)+/m)
    assert.match(stdout, /commits were there/)
  })
})
