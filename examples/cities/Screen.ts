/**
 * The screen: headings, rows, a progress bar. Plain text, so that it reads the same in a file.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

const number = new Intl.NumberFormat("en")

/** 135,233 */
export const count = (value: number): string => number.format(Math.round(value))

/** 45.1 ms, 3.20 s */
export const time = (duration: Duration.Duration): string => {
  const millis = Duration.toMillis(duration)
  return millis < 1000 ? `${millis.toFixed(1)} ms` : `${(millis / 1000).toFixed(2)} s`
}

/** 16.5 MiB */
export const bytes = (value: number): string => {
  if (value < 1024) return `${value} B`
  return value < 2 ** 20 ? `${(value / 1024).toFixed(1)} KiB` : `${(value / 2 ** 20).toFixed(1)} MiB`
}

/** The number as eight hexadecimal digits. */
export const checksum = (value: number): string => value.toString(16).padStart(8, "0")

export const print = (text = ""): Effect.Effect<void> => Effect.sync(() => console.log(text))

let headings = 0

/** Begins the next part of the story; the log of a collector gets it too. */
export const heading = (text: string): Effect.Effect<void> =>
  Effect.suspend(() => Effect.andThen(print(`\n${++headings}  ${text}\n`), Effect.log(text)))

/** Lines below a heading. */
export const lines = (...texts: ReadonlyArray<string>): Effect.Effect<void> =>
  print(texts.map((text) => `   ${text}`.trimEnd()).join("\n"))

export type Row = readonly [string, ...ReadonlyArray<string>]

/** Columns: the first one from the left, the others from the right. */
export const table = (rows: ReadonlyArray<Row>): Effect.Effect<void> => {
  const widths: Array<number> = []
  for (const row of rows) {
    row.forEach((cell, column) => widths[column] = Math.max(widths[column] ?? 0, cell.length))
  }
  return lines(
    ...rows.map(([first, ...others]) =>
      [first.padEnd(widths[0] ?? 0), ...others.map((cell, index) => cell.padStart(widths[index + 1] ?? 0))]
        .join("   ")
    )
  )
}

/** A line that changes in place; where the output is no terminal, only its last state is printed. */
export const status = (text: string, state: "going on" | "done"): Effect.Effect<void> =>
  Effect.sync(() => {
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K   ${text}`)
    else if (state === "done") process.stdout.write(`   ${text}`)
    if (state === "done") process.stdout.write("\n")
  })

/** ████████░░░░ */
export const bar = (part: number, width = 32): string => {
  const full = Math.round(part * width)
  return "█".repeat(full) + "░".repeat(width - full)
}
