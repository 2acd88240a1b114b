/**
 * What effect's command line asks of its surroundings, as far as this command needs any of it.
 *
 * It prints, and reads its arguments. It asks nobody anything, starts no process, and touches no file but through
 * `Disk`, so there is nothing here for those, and no package but `effect` is needed.
 */
import * as CliConfig from "effect/cli/CliConfig"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"

const unused = Effect.die("the heartwood command does not ask for input")
const output = (stream: NodeJS.WriteStream) => () =>
  Sink.forEach((text: string | Uint8Array) => Effect.sync(() => void stream.write(text)))

/** The services of effect's command line, on this process. */
export const layer = Layer.mergeAll(
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] }),
  FileSystem.layerNoop({}),
  Path.layer,
  Layer.succeed(
    Stdio.Stdio,
    Stdio.make({
      args: Effect.sync(() => process.argv.slice(2)),
      stdoutIsTerminal: Effect.sync(() => process.stdout.isTTY),
      stderrIsTerminal: Effect.sync(() => process.stderr.isTTY),
      stdout: output(process.stdout),
      stderr: output(process.stderr),
      stdin: Stream.empty
    })
  ),
  Layer.succeed(
    Terminal.Terminal,
    Terminal.make({
      columns: Effect.sync(() => process.stdout.columns),
      rows: Effect.sync(() => process.stdout.rows),
      size: unused,
      readInput: unused,
      readLine: unused,
      display: (text) => Effect.sync(() => void process.stdout.write(text))
    })
  ),
  Layer.succeed(
    ChildProcessSpawner.ChildProcessSpawner,
    ChildProcessSpawner.make(() => unused)
  )
)
