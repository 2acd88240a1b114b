/**
 * A collector that speaks OTLP receives what a store says of itself: a real listener, and the program of `npm start`.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import fs from "node:fs/promises"
import http from "node:http"
import type { AddressInfo } from "node:net"
import os from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import * as Telemetry from "../src/Telemetry.ts"

interface Attribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

interface Span {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly attributes: ReadonlyArray<Attribute>
  readonly links: ReadonlyArray<{ readonly spanId: string }>
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
}

/** What was posted, by path. */
class Collector {
  readonly bodies = new Map<string, Array<unknown>>()
  private readonly server = http.createServer((request, response) => {
    let text = ""
    request.setEncoding("utf8").on("data", (data) => text += data).on("end", () => {
      const url = request.url ?? ""
      this.bodies.set(url, [...this.bodies.get(url) ?? [], JSON.parse(text)])
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  close(): void {
    this.server.close()
    this.server.closeAllConnections()
  }

  /** All values of a property in everything posted to a path, however deep. */
  all<A>(url: string, property: string): Array<A> {
    const found: Array<A> = []
    const walk = (value: unknown): void => {
      if (typeof value !== "object" || value === null) return
      for (const [key, child] of Object.entries(value)) {
        if (key === property && Array.isArray(child)) found.push(...child)
        else walk(child)
      }
    }
    walk(this.bodies.get(url))
    return found
  }
}

/** Runs the cities, a few of them, against a collector. */
const collected = async (): Promise<Collector> => {
  const collector = new Collector()
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), "heartwood-otlp-"))
  try {
    const script = path.join(import.meta.dirname, "..", "examples", "cities.ts")
    const args = [script, "--directory", path.join(directory, "store"), "--cities", "5000"]
    const env = { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: await collector.listen() }
    await promisify(execFile)(process.execPath, args, { env })
    return collector
  } finally {
    collector.close()
    await fs.rm(directory, { recursive: true, force: true })
  }
}

const attribute = (span: Span, name: string): number =>
  Number(Object.values(span.attributes.find(({ key }) => key === name)?.value ?? {})[0])

const { Attribute, Span } = Telemetry

describe("OTLP", () => {
  it("receives spans, metrics and logs of a store", async () => {
    const collector = await collected()
    const spans = collector.all<Span>("/v1/traces", "spans")
    const named = (name: string): Array<Span> => spans.filter((span) => span.name === name)
    const children = (parent: Span): Array<Span> =>
      spans.filter((span) => span.parentSpanId === parent.spanId)

    const checkpoint = named(Span.checkpoint).find((span) => attribute(span, Attribute.checkpointPages) > 50)
      ?? assert.fail("no checkpoint")
    assert.isUndefined(checkpoint.parentSpanId)
    assert.deepStrictEqual(children(checkpoint).map(({ name }) => name), [
      Span.checkpointCut,
      Span.checkpointDrain,
      Span.checkpointFlush,
      Span.checkpointSeal,
      Span.checkpointPublish,
      Span.checkpointPrune
    ])
    for (const phase of children(checkpoint)) {
      assert.strictEqual(phase.traceId, checkpoint.traceId)
      assert.isAtLeast(Number(phase.startTimeUnixNano), Number(checkpoint.startTimeUnixNano))
      assert.isAtMost(Number(phase.endTimeUnixNano), Number(checkpoint.endTimeUnixNano))
    }
    assert.strictEqual(
      attribute(checkpoint, Attribute.checkpointBytes),
      attribute(checkpoint, Attribute.checkpointPages) * 4096
    )
    assert.isAtLeast(attribute(checkpoint, Attribute.checkpointStallMillis), 0)

    const recoveries = named(Span.recovery)
    assert.lengthOf(recoveries, 2)
    for (const recovery of recoveries) {
      assert.includeMembers(children(recovery).map(({ name }) => name), [
        Span.recoverySuperblock,
        Span.recoveryVerify,
        Span.recoveryReplay
      ])
    }
    // The second one follows the kill.
    const replayed = recoveries.map((recovery) => attribute(recovery, Attribute.recoveryCommits))
    assert.strictEqual(replayed[0], 0)
    assert.isAbove(replayed[1] ?? 0, 0)

    const load = named("load")[0] ?? assert.fail("no load")
    const transactions = children(load)
    assert.deepStrictEqual(
      transactions.map(({ name }) => name),
      Array.from({ length: 5 }, () => Span.transact)
    )
    for (const transaction of transactions) {
      assert.strictEqual(attribute(transaction, Attribute.txWrites), 3_000)
      const groups = named(Span.commitGroup).filter(({ links }) =>
        links.some(({ spanId }) => spanId === transaction.spanId)
      )
      assert.lengthOf(groups, 1)
      assert.isUndefined(groups[0]?.parentSpanId)
    }

    const metrics = new Set(
      collector.all<{ readonly name: string }>("/v1/metrics", "metrics").map(({ name }) => name)
    )
    for (
      const name of [
        "heartwood.tx.commits",
        "heartwood.lsn.durable",
        "heartwood.io",
        "heartwood.checkpoint.duration",
        "heartwood.sync.duration",
        "heartwood.group.size",
        "heartwood.page.cache.usage"
      ]
    ) {
      assert.include([...metrics], name)
    }
    for (const name of metrics) if (name.startsWith("heartwood.")) assert.property(Telemetry.metrics, name)

    const logs = JSON.stringify(collector.bodies.get("/v1/logs"))
    for (const chapter of ["Load", "Checkpoint", "Kill", "recovered"]) assert.include(logs, chapter)
  })
})
