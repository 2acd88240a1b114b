/**
 * A script for a child process, in one file with everything that it imports: such a child is up in a tenth of the
 * time, and none of it is spent on types.
 */
import path from "node:path"
import { rolldown } from "rolldown"

/** Writes the bundle of `entry` into `directory`; answers its path. */
export const bundle = async (entry: string, directory: string): Promise<string> => {
  const name = `${path.basename(entry, ".ts")}.mjs`
  const input = await rolldown({ input: entry, platform: "node", logLevel: "silent" })
  try {
    await input.write({ file: path.join(directory, name), format: "esm", codeSplitting: false })
  } finally {
    await input.close()
  }
  return path.join(directory, name)
}
