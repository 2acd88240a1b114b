/**
 * Reports as text for people: aligned, one thing a line, nothing that scrolls away.
 */
import type { Inspection, Stat } from "../Inspect.ts"
import type * as Salvage from "../Salvage.ts"
import type * as Verify from "../Verify.ts"

/** Findings that are printed; the others are in `--json`. */
const shown = 50

const units = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const

/** A size in the largest unit of which there is one. */
export const size = (bytes: number): string => {
  let [value, unit] = [bytes, 0]
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

export const count = (n: number, one: string, many = `${one}s`): string =>
  `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`

const counted = (records: number, unresolved: number): string =>
  count(records, "record") + (unresolved === 0 ? "" : ` (give or take ${unresolved.toLocaleString("en-US")})`)

/** Lines with their first parts padded to one width. */
const table = (rows: ReadonlyArray<readonly [string, string]>): ReadonlyArray<string> => {
  const width = Math.max(0, ...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`)
}

/** Bytes as text: what is printable ASCII as it is, all else as \xNN. */
export const escaped = (bytes: Uint8Array): string =>
  Buffer.from(bytes).toString("latin1").replace(
    /[^\x20-\x5b\x5d-\x7e]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`
  )

/** What JSON does not have: bytes as hexadecimal digits, large numbers as text, maps as arrays, no end as null. */
export const json = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) => {
    if (part instanceof Uint8Array) return Buffer.from(part).toString("hex")
    if (typeof part === "bigint") return `${part}`
    return part instanceof Map ? [...part] : part
  }, 2)

const findings = (list: ReadonlyArray<Verify.Finding>, more: number): ReadonlyArray<string> => {
  const lines = list.slice(0, shown).map(({ actual, expected, keyspace, offset, path, subject }) => {
    const whose = keyspace === undefined ? "" : ` of keyspace "${keyspace}"`
    return `${path}, byte ${offset}: ${subject}${whose}: expected ${expected}, found ${actual}`
  })
  const left = list.length + more - lines.length
  if (left > 0) lines.push(`and ${count(left, "finding")} more`)
  const advices = new Set(list.map(({ advice }) => advice))
  return [...lines, ...[...advices].map((advice) => `what to do: ${advice}`)]
}

const checkpoint = (report: Verify.CheckpointReport): ReadonlyArray<string> => {
  const { cut, height, keyspaces, pages, role, slots, version } = report
  return [
    `${role} checkpoint, version ${version}, up to LSN ${cut}: ${count(pages.leaves, "leaf", "leaves")}, `
    + `${count(pages.inner, "inner page")}, ${count(pages.minis, "mini-page")}, height ${height}, `
    + count(slots, "slot"),
    ...table(keyspaces.map(({ largeBytes, largeValues, name, records, unresolved }) => [
      name,
      counted(records, unresolved)
      + (largeValues === 0 ? "" : `, ${count(largeValues, "large value")} of ${size(largeBytes)}`)
    ]))
  ]
}

export const verified = ({ checkpoints, findings: list, log, more, path }: Verify.Report): string =>
  [
    ...checkpoints.flatMap(checkpoint),
    ...(log === undefined ? [] : [
      `log from LSN ${log.begin} to ${log.end}: ${count(log.segments, "segment")}, ${
        count(log.groups, "group")
      }, `
      + `${count(log.records, "transaction")}, ${size(log.bytes)}`
      + (log.strays.groups === 0 ? "" : `, and ${count(log.strays.groups, "whole group")} behind a break`)
    ]),
    ...findings(list, more),
    list.length + more === 0 ? `${path} is sound` : `${path} has ${count(list.length + more, "finding")}`
  ].join("\n")

export const salvaged = (report: Salvage.Report): string => {
  const { complete, keyspaces, log, lsn, to } = report
  const lines = [
    `${to} holds the state at LSN ${lsn}: ${count(report.records, "record")}`,
    ...table(keyspaces.map(({ lost, name, records }) => [
      name,
      count(records, "record") +
      (lost.length === 0 ? "" : `; missing: ${count(lost.length, "range")} of keys`)
    ]))
  ]
  for (const { lost, name } of keyspaces) {
    for (const { high, low } of lost.slice(0, shown)) {
      lines.push(
        `missing of "${name}": keys from "${escaped(low)}" ${
          high === undefined ? "on" : `to below "${escaped(high)}"`
        }`
      )
    }
    if (lost.length > shown) lines.push(`and ${count(lost.length - shown, "range")} more of "${name}"`)
  }
  if (log.break !== undefined) {
    const { actual, expected, offset, path } = log.break
    lines.push(
      `the log breaks off: ${path}, byte ${offset}: expected ${expected}, found ${actual}; behind it `
        + `${count(log.behind.groups, "whole group")} of ${count(log.behind.records, "transaction")} `
        + "were not applied"
    )
  }
  return [...lines, ...(complete ? ["nothing is missing"] : [])].join("\n")
}

export const stat = ({ file, keyspaces, log, lsn, pages }: Stat): string =>
  [
    "keyspaces",
    ...table(keyspaces.map(({ name, records, unresolved }) => [
      name,
      counted(records, unresolved)
    ])),
    "log",
    ...table([
      ["files", size(log.files)],
      ["bytes", `${size(log.bytes)} from LSN ${lsn.begin} to ${lsn.visible}`],
      ["since checkpoint", size(log.sinceCheckpoint)],
      ["large values", size(log.large)]
    ]),
    "pages",
    ...table([
      ["ids", count(pages.ids, "page")],
      ["slots", `${file.live} live, ${file.free} free, ${file.retired} retired, of ${file.slots}`]
    ])
  ].join("\n")

export const inspected = ({ keyspaces, regions, segments, violations }: Inspection): string =>
  [
    ...keyspaces.flatMap(({ layout, name, tree }) => [
      `keyspace "${name}", ${layout}: height ${tree.height}, ${count(tree.leaves.length, "leaf", "leaves")}, `
      + count(tree.innerPages, "inner page"),
      ...table(
        tree.leaves.slice(0, shown).map(({ low, mini, pageId, records, slot, usedBytes }) => [
          `page ${pageId}`,
          `slot ${slot}, ${count(records, "record")}, ${usedBytes} bytes`
          + `${mini === undefined ? "" : ", mini-page"}, from "${escaped(low)}"`
        ])
      ),
      ...(tree.leaves.length > shown ? [`  and ${tree.leaves.length - shown} more`] : [])
    ]),
    ...segments.map(({ base, capacity, sequence }) =>
      `segment ${sequence} from LSN ${base}, ${size(capacity)}`
    ),
    `begin ${regions.begin}, head ${regions.head}, durable ${regions.durable}, visible ${regions.visible}`,
    ...violations.map(({ actual, pageId, rule }) => `page ${pageId}: ${rule}, not ${actual}`)
  ].join("\n")
