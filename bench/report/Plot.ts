/**
 * Plots as SVG, written by hand: bars with their range, and lines over a scale of powers or of time.
 *
 * Colours are readable on white; every series is named beside its marks, never by its colour alone.
 */

const colours = [
  "#2f6fb3",
  "#5fa8e8",
  "#c25b28",
  "#e0a030",
  "#4c9a54",
  "#8a63b8",
  "#b04a6f",
  "#6f7a86",
  "#3aa6a0",
  "#20262d",
  "#9cc3a1",
  "#d98fa6",
  "#1f4a7a"
]

export const colourOf = (index: number): string => colours[index % colours.length] as string

const escaped = (content: string): string =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

type Anchor = "start" | "middle" | "end"

const text = (x: number, y: number, content: string, anchor: Anchor = "start", size = 12): string => {
  const at = `x="${x.toFixed(1)}" y="${y.toFixed(1)}"`
  return `<text ${at} text-anchor="${anchor}" font-size="${size}">${escaped(content)}</text>`
}

const line = (x1: number, y1: number, x2: number, y2: number, stroke: string): string => {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1))
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${stroke}"/>`
}

const rect = (x: number, y: number, width: number, height: number, fill: string): string => {
  const [a, b, c, d] = [x, y, Math.max(0, width), height].map((value) => value.toFixed(1))
  return `<rect x="${a}" y="${b}" width="${c}" height="${d}" fill="${fill}"/>`
}

const width = 860

const svg = (height: number, title: string, body: ReadonlyArray<string>): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" role="img">`,
    `<title>${escaped(title)}</title>`,
    rect(0, 0, width, height, "#ffffff"),
    text(16, 24, title, "start", 15),
    ...body,
    "</svg>",
    ""
  ].join("\n")

export interface Bar {
  readonly name: string
  readonly colour: string
  readonly median: number
  readonly least: number
  readonly most: number
  readonly label: string
}

export interface BarGroup {
  readonly title: string
  readonly bars: ReadonlyArray<Bar>
}

const nameWidth = 150
const labelWidth = 130
const barHeight = 14

/** Groups of horizontal bars, each group to a scale of its own. */
export const bars = (title: string, groups: ReadonlyArray<BarGroup>): string => {
  const body: Array<string> = []
  let y = 40
  for (const group of groups) {
    body.push(text(16, y + 14, group.title, "start", 13))
    y += 22
    const most = Math.max(...group.bars.map((bar) => bar.most), 1e-9)
    const at = (value: number): number => nameWidth + value / most * (width - nameWidth - labelWidth)
    for (const { colour, label, least, median, most: highest, name } of group.bars) {
      body.push(text(nameWidth - 8, y + 10, name, "end", 11))
      body.push(rect(nameWidth, y, at(median) - nameWidth, barHeight - 3, colour))
      body.push(line(at(least), y + 5.5, at(highest), y + 5.5, "#222222"))
      body.push(text(at(highest) + 6, y + 10, label, "start", 11))
      y += barHeight
    }
    y += 12
  }
  return svg(y + 10, title, body)
}

export interface Series {
  readonly name: string
  readonly colour: string
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

export interface Axis {
  readonly label: string
  readonly scale: "linear" | "log"
  /** What stands at a mark. */
  readonly format: (value: number) => string
  readonly marks?: ReadonlyArray<number> | undefined
}

const left = 80
const right = 190
const top = 56
const height = 420
const bottom = 60

interface Scale {
  readonly of: (value: number) => number
  readonly marks: ReadonlyArray<number>
}

/** Steps that people count in, six of them or fewer. */
const roundStep = (span: number): number => {
  const power = 10 ** Math.floor(Math.log10(span / 4))
  return [1, 2, 5].map((by) => by * power).find((step) => span / step <= 6) ?? 10 * power
}

const count = (length: number): Array<number> => Array.from({ length }, (_, place) => place)

const scaleOf = (axis: Axis, values: ReadonlyArray<number>, from: number, to: number): Scale => {
  if (axis.scale === "log") {
    const low = Math.floor(Math.log10(Math.max(1e-9, Math.min(...values))))
    const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))
    const marks = axis.marks ?? count(high - low + 1).map((place) => 10 ** (low + place))
    return { of: (value) => from + (Math.log10(value) - low) / (high - low) * (to - from), marks }
  }
  const most = Math.max(...values, 1e-9)
  const step = roundStep(most)
  const marks = axis.marks ?? count(Math.floor(most / step) + 1).map((place) => place * step)
  return { of: (value) => from + value / most * (to - from), marks }
}

/** A part of the x axis that is marked. */
export interface Band {
  readonly from: number
  readonly to: number
  readonly name: string
}

/** Lines with their names at their ends. */
export const lines = (
  title: string,
  series: ReadonlyArray<Series>,
  axes: { readonly x: Axis; readonly y: Axis; readonly bands?: ReadonlyArray<Band> }
): string => {
  const { bands = [], x, y } = axes
  const points = series.flatMap((one) => one.points)
  const across = scaleOf(x, points.map(([value]) => value), left, width - right)
  const up = scaleOf(y, points.map(([, value]) => value), height - bottom, top)
  const body: Array<string> = []
  for (const { from, name, to } of bands) {
    body.push(rect(across.of(from), top, across.of(to) - across.of(from), height - bottom - top, "#f2ead8"))
    body.push(text(across.of(from) + 4, top + 14, name, "start", 11))
  }
  for (const mark of up.marks) {
    body.push(line(left, up.of(mark), width - right, up.of(mark), "#dddddd"))
    body.push(text(left - 8, up.of(mark) + 4, y.format(mark), "end", 11))
  }
  for (const mark of across.marks) {
    body.push(text(across.of(mark), height - bottom + 18, x.format(mark), "middle", 11))
  }
  body.push(text((left + width - right) / 2, height - 18, x.label, "middle"), text(16, top - 14, y.label))
  for (const [place, at] of labels(series, up).entries()) {
    const { colour, name, points } = series[place] as Series
    const path = points.map(([px, py]) => `${across.of(px).toFixed(1)},${up.of(py).toFixed(1)}`).join(" ")
    body.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    body.push(rect(width - right + 10, at - 5, 10, 10, colour))
    body.push(text(width - right + 26, at + 4, name, "start", 11))
  }
  return svg(height, title, body)
}

/** Where each name stands: beside the end of its line, but never over another. */
const labels = (series: ReadonlyArray<Series>, up: Scale): Array<number> => {
  const ends = series.map(({ points }, index) => ({ index, at: up.of(points.at(-1)?.[1] ?? 1) }))
  ends.sort((a, b) => a.at - b.at)
  const found: Array<number> = []
  let free = top
  for (const { at, index } of ends) {
    found[index] = Math.max(free, at)
    free = (found[index] ?? at) + 15
  }
  return found
}
