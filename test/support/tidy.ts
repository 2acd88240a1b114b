/**
 * What the structure promises, as rules over sources: floors, no cycles, a pure kernel, names in one place, sizes.
 *
 * Sources are parsed, so that comments and strings are never taken for code. A rule answers sentences that name the
 * file and the line; no sentence, no problem. Taste is not here: it is for readers.
 */
import { parseAst } from "rolldown/parseAst"

/** Lines that one screen holds; a function is read without scrolling. */
const functionLines = 70
const fileLines = 400
/** The formatter breaks code; comments are wrapped by hand. */
const codeColumns = 110
const commentColumns = 120

/**
 * From the ground up. A file imports from lower floors, and from its own only inside one directory. A name with a
 * slash at its end is a directory.
 */
const floors: ReadonlyArray<ReadonlyArray<string>> = [
  ["Advice"],
  ["StoreError", "Invariant", "Spares", "Limits", "Telemetry", "Key", "key/"],
  ["disk/", "Codec", "Options", "Given"],
  ["log/"],
  ["tree/page/"],
  ["tree/memory/"],
  ["tree/file/", "tree/past/"],
  ["tree/read/"],
  ["tree/write/"],
  ["tree/"],
  ["actors/loop/"],
  ["actors/commit/", "actors/checkpoint/", "actors/buffer/"],
  ["actors/files/"],
  ["actors/apply/"],
  ["actors/opening/"],
  ["actors/upkeep/"],
  ["actors/"],
  ["offline/"],
  ["Doors", "Destination"],
  ["Ending"],
  ["Guards"],
  ["Machine"],
  ["Costs"],
  ["Primitive", "Row"],
  ["Backup", "Feed", "Inspect", "Raw", "Series", "View"],
  ["Store"],
  ["ByKey"],
  ["Snapshot", "Session", "Counts", "WriteSet", "Reducer"],
  ["Overlay", "Form", "Once", "Steps"],
  ["own/"],
  ["Running"],
  ["Attempt"],
  ["Tx"],
  ["Decide"],
  ["Keyspace"],
  ["indexes/", "salvage/", "testing/"],
  ["Indexes", "Bulk", "Verify", "Salvage", "Log", "Flags", "testing"],
  ["cli/", "index"],
  ["cli"]
]
/** `Key` is the door of `key/`: the two are one room. */
const rooms: Record<string, string> = { Key: "key/" }
/** Only `Machine` wires them; what else stands in `actors/` is a part of one, as are the rooms below. */
const actors = ["Wal", "Tree", "Buffer", "Flush", "Checkpoint", "Janitor"]

/** What would let time, chance or the surroundings into the kernel, or make it wait. */
const impure = new Set([
  "Date",
  "Promise",
  "clearTimeout",
  "crypto",
  "fetch",
  "globalThis",
  "performance",
  "process",
  "queueMicrotask",
  "setImmediate",
  "setInterval",
  "setTimeout",
  "structuredClone"
])
const kernelModules = new Set(["node:zlib", "node:buffer"])

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [field: string]: unknown
}

export interface Source {
  /** Relative to `src`, as in `tree/page/Page.ts`. */
  readonly path: string
  readonly text: string
}

interface Parsed extends Source {
  /** Every node, with the node it stands in. */
  readonly nodes: ReadonlyArray<
    { readonly node: Node; readonly parent: Node | undefined; readonly field: string }
  >
  readonly imports: ReadonlyArray<{ readonly from: string; readonly line: number }>
  readonly lineAt: (offset: number) => number
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string"

export function parse(source: Source): Parsed {
  const nodes: Array<{ node: Node; parent: Node | undefined; field: string }> = []
  const imports: Array<{ from: string; line: number }> = []
  const lineAt = (offset: number): number => source.text.slice(0, offset).split("\n").length
  const visit = (node: Node, parent: Node | undefined, field: string): void => {
    nodes.push({ node, parent, field })
    const from = node["source"]
    if (isNode(from) && typeof from["value"] === "string") {
      imports.push({ from: from["value"], line: lineAt(node.start) })
    }
    for (const [name, value] of Object.entries(node)) {
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child, node, name)
    }
  }
  visit(parseAst(source.text, { lang: "ts" }) as unknown as Node, undefined, "")
  return { ...source, nodes, imports, lineAt }
}

const nameOf = (path: string): string =>
  path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : path.replace(/\.ts$/, "")
const floorOf = (path: string): number => floors.findIndex((names) => names.includes(nameOf(path)))
const isKernel = (path: string): boolean => path.startsWith("log/") || path.startsWith("tree/")

/** The path of a relative import, relative to `src`. */
function resolved(path: string, from: string): string {
  const parts = path.split("/").slice(0, -1)
  for (const part of from.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== ".") parts.push(part)
  }
  return parts.join("/")
}

const relative = (file: Parsed): ReadonlyArray<{ readonly path: string; readonly line: number }> =>
  file.imports.filter(({ from }) => from.startsWith("."))
    .map(({ from, line }) => ({ path: resolved(file.path, from), line }))

export function floorProblems(file: Parsed): ReadonlyArray<string> {
  const mine = floorOf(file.path)
  if (mine < 0) return [`${file.path}: has no floor: give it one in test/support/tidy.ts`]
  const room = (path: string): string => rooms[nameOf(path)] ?? nameOf(path)
  return relative(file).filter(({ path }) => {
    const theirs = floorOf(path)
    return theirs < 0 || theirs > mine || theirs === mine && room(path) !== room(file.path)
  }).map(({ line, path }) => `${file.path}:${line}: imports ${path}, which is not on a lower floor`)
}

export function actorProblems(file: Parsed): ReadonlyArray<string> {
  if (nameOf(file.path) !== "actors/") return []
  return relative(file).filter(({ path }) => actors.some((actor) => path === `actors/${actor}.ts`))
    .map(({ line, path }) => `${file.path}:${line}: imports the actor ${path}: Store.ts wires actors`)
}

/** Each cycle once, named by its files in order. */
export function cycleProblems(files: ReadonlyArray<Parsed>): ReadonlyArray<string> {
  const edges = new Map(files.map((file) => [file.path, relative(file).map(({ path }) => path)]))
  const done = new Set<string>()
  const problems: Array<string> = []
  const walk = (path: string, trail: ReadonlyArray<string>): void => {
    const seen = trail.indexOf(path)
    if (seen >= 0) problems.push(`a cycle: ${[...trail.slice(seen), path].join(" → ")}`)
    if (seen >= 0 || done.has(path)) return
    for (const next of edges.get(path) ?? []) walk(next, [...trail, path])
    done.add(path)
  }
  for (const file of files) walk(file.path, [])
  return problems
}

export function importProblems(file: Parsed): ReadonlyArray<string> {
  return file.imports.flatMap(({ from, line }) => {
    const at = `${file.path}:${line}: imports ${from}`
    if (from === "effect") return [`${at}: import the module, not the barrel`]
    if (/^(node:)?fs(\/|$)/.test(from) && !file.path.startsWith("disk/")) {
      return [`${at}: the door to storage is Disk`]
    }
    if (isKernel(file.path) && !from.startsWith(".") && !kernelModules.has(from)) {
      return [`${at}: the kernel is pure`]
    }
    return []
  })
}

/** Whether an identifier stands for a thing, and is not the name of a member. */
function refers(field: string, parent: Node | undefined): boolean {
  if (parent === undefined || parent["computed"] === true) return true
  return !(field === "property" && parent.type === "MemberExpression") && field !== "key"
    && !(field === "right" && parent.type === "TSQualifiedName")
}

export function purityProblems(file: Parsed): ReadonlyArray<string> {
  if (!isKernel(file.path)) return []
  return file.nodes.flatMap(({ field, node, parent }) => {
    const at = `${file.path}:${file.lineAt(node.start)}`
    if (node.type === "Identifier" && impure.has(String(node["name"])) && refers(field, parent)) {
      return [`${at}: uses ${String(node["name"])}: time, chance and surroundings come in as arguments`]
    }
    const { object, property } = node as { object?: unknown; property?: unknown }
    if (isNode(object) && isNode(property) && object["name"] === "Math" && property["name"] === "random") {
      return [`${at}: uses Math.random: chance comes in as an argument`]
    }
    return node.type === "AwaitExpression" || node["async"] === true ? [`${at}: waits`] : []
  })
}

export function anyProblems(file: Parsed): ReadonlyArray<string> {
  return file.nodes.filter(({ node }) => node.type === "TSAnyKeyword")
    .map(({ node }) => `${file.path}:${file.lineAt(node.start)}: any`)
}

export function telemetryProblems(file: Parsed): ReadonlyArray<string> {
  if (file.path === "Telemetry.ts") return []
  return file.nodes.filter(({ node }) => {
    const text = node.type === "TemplateElement" ? (node["value"] as { raw?: unknown }).raw : node["value"]
    return typeof text === "string" && text.startsWith("heartwood.")
  }).map(({ node }) => `${file.path}:${file.lineAt(node.start)}: names of telemetry stand in Telemetry.ts`)
}

export function sizeProblems(file: Parsed): ReadonlyArray<string> {
  const lines = file.text.replace(/\n$/, "").split("\n")
  const problems: Array<string> = []
  if (lines.length > fileLines) {
    problems.push(`${file.path}: has ${lines.length} lines, ${fileLines} are a room`)
  }
  lines.forEach((line, index) => {
    const most = /^\s*(\/?\*|\/\/)/.test(line) ? commentColumns : codeColumns
    if (line.length > most) problems.push(`${file.path}:${index + 1}: has ${line.length} columns, of ${most}`)
  })
  for (const { node } of file.nodes) {
    if (!/^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(node.type)) continue
    const length = file.lineAt(node.end) - file.lineAt(node.start) + 1
    const at = `${file.path}:${file.lineAt(node.start)}`
    if (length > functionLines) {
      problems.push(`${at}: a function of ${length} lines, ${functionLines} fit a screen`)
    }
  }
  return problems
}

export function wordProblems(file: Parsed): ReadonlyArray<string> {
  const problems: Array<string> = []
  const body = file.text.replace(/^#!.*\n/, "")
  const opening = /^\/\*\*\n \* (?<first>[A-Z`][^]*?)\n \*\/\n/.exec(body)?.groups?.["first"]
  if (opening === undefined || !/[.:](\s|$)/.test(opening)) {
    problems.push(`${file.path}: does not open with a sentence`)
  }
  const left = /\b(TODO|FIXME|XXX|HACK)\b/.exec(file.text)
  if (left !== null) problems.push(`${file.path}:${file.lineAt(left.index)}: has a ${left[0]}`)
  return problems
}

/** Every rule for one file; cycles are a matter of all. */
export const fileProblems = (file: Parsed): ReadonlyArray<string> => [
  ...floorProblems(file),
  ...actorProblems(file),
  ...importProblems(file),
  ...purityProblems(file),
  ...anyProblems(file),
  ...telemetryProblems(file),
  ...sizeProblems(file),
  ...wordProblems(file)
]
