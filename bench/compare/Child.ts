/**
 * The bench's end of an engine's process: a question, and its answer.
 *
 * I1 Of all processes one works at a time: nothing is asked while another has not answered.
 */
import { fork } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import type { Reply, Request } from "./Protocol.ts"

const execArgv = ["--expose-gc", "--disable-warning=ExperimentalWarning", "--max-old-space-size=8192"]

export class Child {
  private readonly child: ChildProcess
  private readonly closed: Promise<unknown>

  /** With what more it is to be told of memory. */
  constructor(...flags: ReadonlyArray<string>) {
    this.child = fork(join(import.meta.dirname, "worker.ts"), [], {
      execArgv: [...execArgv, ...flags],
      serialization: "advanced"
    })
    this.closed = once(this.child, "close")
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  /** Throws what the process says went wrong, and where it ends without an answer. */
  async ask(request: Request): Promise<Reply> {
    const ended = this.closed.then(() => ({ error: `the process ended while asked to ${request.do}` }))
    const answered = once(this.child, "message").then(([reply]) => reply as Reply)
    this.child.send(request)
    const reply: Reply = await Promise.race([answered, ended])
    if (reply.error !== undefined) throw new Error(reply.error)
    return reply
  }

  async close(): Promise<void> {
    try {
      await this.ask({ do: "close" })
    } finally {
      await this.kill()
    }
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL")
    await this.closed
  }
}
