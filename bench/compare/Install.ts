/**
 * The peers, installed into the bench's own folder where they are not there in the versions that it names.
 *
 * They bring their binaries along, so no script of theirs is run. Without a registry at hand the bench goes on, and
 * leaves out what cannot be loaded.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** Without what an npm around this one has set: it would work where that one does. */
const ownEnvironment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith("npm_")))

const home = join(import.meta.dirname, "..")

interface Manifest {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
}

const manifest = (...path: ReadonlyArray<string>): Manifest => {
  const file = join(home, ...path, "package.json")
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) as Manifest : {}
}

/** Whether each peer is there in the version that is asked for. */
const isInstalled = (): boolean =>
  Object.entries(manifest().dependencies ?? {}).every(([name, version]) =>
    manifest("node_modules", name).version === version
  )

export const install = (say: (line: string) => void): void => {
  if (isInstalled()) return
  say("installing the peers into bench/node_modules")
  try {
    execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: home,
      env: ownEnvironment(),
      stdio: "inherit"
    })
  } catch (error) {
    say(`the peers cannot be installed: ${String(error)}`)
  }
}
