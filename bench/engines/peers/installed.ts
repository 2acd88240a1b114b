/**
 * Which version of a peer is installed here. Packages hide their manifest from `require`, so it is read as a file.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"

export const versionOf = (name: string): string => {
  const file = join(import.meta.dirname, "..", "..", "node_modules", name, "package.json")
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version
}
