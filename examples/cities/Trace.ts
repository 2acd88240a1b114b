/**
 * The trace: spans as they end up anywhere else, kept here to be printed as a tree.
 *
 * It stands in front of whatever tracer is there, so a collector that is configured receives the same spans.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { Attribute } from "../../src/Telemetry.ts"
import * as Screen from "./Screen.ts"

export class Trace extends Context.Service<Trace, {
  /** The newest span of a name with everything below it, as lines. */
  readonly tree: (name: string) => Effect.Effect<ReadonlyArray<string>>
}>()("examples/cities/Trace") {}

/** Spans of the store itself; those of single transactions would be too many to keep. */
const isKept = (name: string): boolean => /^heartwood\.(checkpoint|recovery)/.test(name)

export const layer: Layer.Layer<Trace> = Layer.effectContext(Effect.gen(function*() {
  const outer = yield* Tracer.Tracer
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span(options) {
      const span = outer.span(options)
      if (isKept(span.name)) spans.push(span)
      return span
    }
  })
  const tree = (name: string) =>
    Effect.sync(() => {
      const root = spans.findLast((span) => span.name === name)
      return root === undefined ? [] : draw(root, spans)
    })
  return Context.make(Trace, { tree }).pipe(Context.add(Tracer.Tracer, tracer))
}))

interface Row {
  readonly label: string
  readonly span: Tracer.Span
}

const draw = (root: Tracer.Span, spans: ReadonlyArray<Tracer.Span>): ReadonlyArray<string> => {
  const below = (parent: Tracer.Span, indent: string): ReadonlyArray<Row> => {
    const children = spans.filter((span) => Option.getOrUndefined(span.parent)?.spanId === parent.spanId)
    return children.flatMap((span, index) => {
      const isLast = index === children.length - 1
      const name = span.name.startsWith(parent.name) ? span.name.slice(parent.name.length) : span.name
      return [
        { label: `${indent}${isLast ? "└─" : "├─"} ${name}`, span },
        ...below(span, `${indent}${isLast ? "   " : "│  "}`)
      ]
    })
  }
  const rows = [{ label: root.name, span: root }, ...below(root, "")]
  const width = Math.max(...rows.map(({ label }) => label.length))
  return rows.map(({ label, span }) =>
    `${label.padEnd(width)}  ${duration(span).padStart(9)}   ${details(span)}`.trimEnd()
  )
}

const duration = ({ status }: Tracer.Span): string =>
  status._tag === "Ended" ? Screen.time(Duration.nanos(status.endTime - status.startTime)) : "open"

/** How the attributes worth a look are said. */
const words: Record<string, (value: number) => string> = {
  [Attribute.checkpointPages]: (value) => `${Screen.count(value)} pages`,
  [Attribute.checkpointBytes]: (value) => `${Screen.bytes(value)} written`,
  [Attribute.checkpointReclaimedBytes]: (value) => `${Screen.bytes(value)} freed`,
  [Attribute.checkpointStallMillis]: (value) => `writers stalled ${value} ms`,
  [Attribute.recoveryCommits]: (value) => `${Screen.count(value)} commits replayed`,
  [Attribute.recoveryBytes]: (value) => `${Screen.bytes(value)} of log`
}

const details = ({ attributes }: Tracer.Span): string =>
  Object.entries(words).flatMap(([name, say]) => {
    const value = attributes.get(name)
    return typeof value === "number" ? [say(value)] : []
  }).join(", ")
