/**
 * The README tells the truth: its example runs and prints what it says, and what it names is there.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.join(import.meta.dirname, "..")
const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")
const read = (name: string): string => fs.readFileSync(path.join(root, name), "utf8")

const block = (language: string): string => {
  const found = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "m").exec(readme)?.[1]
  assert.isDefined(found, `no block of ${language}`)
  return found ?? ""
}

describe("the example of the README", () => {
  // Inside the repository, so that its packages are found; the directory is ignored by git.
  const home = path.join(root, ".heartwood")
  fs.mkdirSync(home, { recursive: true })
  const directory = fs.mkdtempSync(path.join(home, "readme-"))
  afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))
  const file = path.join(directory, "example.ts")
  fs.writeFileSync(file, block("ts").replace("\"heartwood\"", "\"../../src/index.ts\""))

  it("runs, and prints what it says", () => {
    const printed = execFileSync(process.execPath, ["--disable-warning=ExperimentalWarning", file], {
      cwd: directory,
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" }
    })
    assert.strictEqual(printed.trim(), block("text").trim())
  })

  it("has types", () => {
    const config = { extends: "../../tsconfig.json", include: ["example.ts"] }
    fs.writeFileSync(path.join(directory, "tsconfig.json"), JSON.stringify(config))
    const tsc = path.join(root, "node_modules", ".bin", "tsc")
    const refused = (): string => {
      try {
        return execFileSync(tsc, ["-p", directory, "--noEmit"], { encoding: "utf8" })
      } catch (error) {
        // What is wrong with the sources themselves is for `npm run check` to say.
        const said = (error as { stdout?: string }).stdout ?? String(error)
        return said.split("\n").filter((line) => line.includes("example.ts")).join("\n")
      }
    }
    assert.strictEqual(refused(), "")
  })

  it("is the quickstart", () => {
    const quickstart = read("examples/quickstart.ts").replace(/^\/\*\*[^]*?\*\/\n/, "")
    assert.strictEqual(block("ts").trim(), quickstart.replace("\"../src/index.ts\"", "\"heartwood\"").trim())
  })
})

describe("what the documents name", () => {
  const documents = [
    "README.md",
    "CONTRIBUTING.md",
    ...fs.readdirSync(path.join(root, "docs")).map((name) => `docs/${name}`)
  ]
    .filter((name) => name.endsWith(".md"))

  for (const name of documents) {
    it(`${name}: its files are there`, () => {
      const text = read(name)
      const files = [...text.matchAll(/`((?:src|test|examples|docs|bench)\/[\w./-]*)`/g)].map((match) =>
        match[1] ?? ""
      )
      for (const file of files) assert.isTrue(fs.existsSync(path.join(root, file)), `${name} names ${file}`)
      for (const [, link = ""] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
        assert.isTrue(fs.existsSync(path.join(root, path.dirname(name), link)), `${name} links to ${link}`)
      }
    })

    it(`${name}: the functions that it puts behind a file stand in it`, () => {
      for (const [, file = "", names = ""] of read(name).matchAll(/`(src\/[\w./]+\.ts)`((?:\s`\w+`)+)/g)) {
        const code = read(file).replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, "")
        for (const [, called = ""] of names.matchAll(/`(\w+)`/g)) {
          const declared = new RegExp(`(?:const|function|class|readonly|private|^ {2})\\s*${called}\\b`, "m")
          assert.match(code, declared, `${name} says ${file} has ${called}`)
        }
      }
    })
  }

  it("the picture is the one of Machine.ts", () => {
    const picture = /^ \* ```\n([^]*?)^ \* ```/m.exec(read("src/Machine.ts"))?.[1] ?? ""
    assert.isAbove(picture.length, 100)
    for (const line of picture.split("\n")) assert.include(readme, line.replace(/^ \*/, "").trim())
  })
})
