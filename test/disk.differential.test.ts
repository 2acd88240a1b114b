/**
 * The disk that fails does what real files do, as long as nothing fails: the same operations from a seed on files of
 * this machine and on `FaultDisk`, many files open at a time, give the same answers, the same codes and the same tree.
 *
 * A kill and a power cut that keeps everything change none of it. `HEARTWOOD_SEED=n` plays one seed,
 * `HEARTWOOD_FIGURES=1` prints what was done.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Disk } from "../src/disk/Disk.ts"
import type { DiskFile } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as NodeDisk from "../src/disk/NodeDisk.ts"
import { StoreError } from "../src/StoreError.ts"
import { codeOf, contentOf, opened } from "./support/diskSuite.ts"
import { figure } from "./support/figures.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? Array.from({ length: 30 }, (_, index) => index + 1) : [Number(asked)]
const steps = 250
const handlesMost = 5

/** How often each answer came, over all seeds. */
const figures: Record<string, number> = {}

const names = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "f", "f/a"]
const hash = (bytes: Uint8Array): string =>
  `${bytes.length}:${createHash("sha1").update(bytes).digest("hex").slice(0, 8)}`

/** One operation; answers what a program can see of it. */
type Move = (world: World) => Effect.Effect<unknown, StoreError>

class World {
  readonly disk: Disk["Service"]
  readonly chance: Random
  readonly handles: Array<DiskFile> = []
  private readonly directory: string

  constructor(disk: Disk["Service"], directory: string, chance: Random) {
    this.disk = disk
    this.directory = directory
    this.chance = chance
  }

  at(name: string): string {
    return `${this.directory}/${name}`
  }

  path(): string {
    return this.at(this.chance.pick(names))
  }

  position(): number {
    return this.chance.pick([0, 1, 511, 512, 4_096, this.chance.int(20_000), this.chance.int(20_000), 70_000])
  }
}

/** Something is done to one of the files that are open, or were. */
const onFile =
  (act: (file: DiskFile, world: World) => Effect.Effect<unknown, StoreError>): Move => (world) => {
    const file = world.handles[world.chance.int(handlesMost)]
    return file === undefined ? Effect.succeed("no file") : act(file, world)
  }

/** What is done in the calling thread throws. */
const now = <A>(act: () => A): Effect.Effect<A, StoreError> =>
  Effect.try({
    try: act,
    catch: (cause) => {
      if (cause instanceof StoreError) return cause
      throw cause
    }
  })

const pieces = ({ chance }: World): ReadonlyArray<Uint8Array> =>
  Array.from({ length: chance.int(4) }, () => chance.bytes(chance.pick([0, 1, chance.int(1_500)])))

const read = (file: DiskFile, world: World, how: "read" | "readSync") => {
  const buffer = new Uint8Array(world.chance.int(9_000))
  const position = world.position()
  const count = how === "read" ? file.read(buffer, position) : now(() => file.readSync(buffer, position))
  return Effect.map(count, (bytes) => `${bytes} ${hash(buffer)}`)
}

const moves: Record<string, Move> = {
  open: (world) => {
    const { chance, disk, handles } = world
    const [slot, path] = [chance.int(handlesMost), world.path()]
    const mode = chance.pick(["create", "create", "readWrite", "readWrite", "readOnly"] as const)
    const durableWrites = chance.pick(["oneCall", "twoCalls"] as const)
    return Effect.map(disk.open(path, { mode, durableWrites }), (file) => {
      const before = handles[slot]
      handles[slot] = file
      return before
    }).pipe(Effect.flatMap((before) => before?.close ?? Effect.void))
  },
  // It stays where it is: what is done to it next is refused.
  close: onFile((file, { chance }) => chance.bool(0.3) ? file.close : Effect.void),
  read: onFile((file, world) => read(file, world, "read")),
  readSync: onFile((file, world) => read(file, world, "readSync")),
  write: onFile((file, world) => file.write(pieces(world), world.position())),
  writeSync: onFile((file, world) => {
    const [buffers, position] = [pieces(world), world.position()]
    return now(() => file.writeSync(buffers, position))
  }),
  writeDurably: onFile((file, world) => file.writeDurably(pieces(world), world.position())),
  writeDurablySync: onFile((file, world) => {
    const [buffers, position] = [pieces(world), world.position()]
    return now(() => file.writeDurablySync(buffers, position))
  }),
  truncate: onFile((file, world) => file.truncate(world.position())),
  allocate: onFile((file, world) => file.allocate(world.position())),
  size: onFile((file) => file.size),
  content: onFile((file) => Effect.map(contentOf(file), hash)),
  sync: onFile((file) => file.sync),
  syncSync: onFile((file) => now(() => file.syncSync())),
  rename: (world) => world.disk.rename(world.path(), world.path()),
  unlink: (world) => world.disk.unlink(world.path()),
  makeDirectory: (world) => world.disk.makeDirectory(world.path()),
  list: (world) => world.disk.list(world.at(world.chance.pick(["", "d", "d/e/", "f", "a"]))),
  kind: (world) => world.disk.kind(world.path()),
  syncDirectory: (world) => world.disk.syncDirectory(world.at(world.chance.pick(["", "d", "d/e/", "f", "a"])))
}

const often = ["open", "write", "write", "read", "content"]

/** Plays a seed, and answers what was seen. */
const play = (world: World): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    for (const name of ["d", "d/e", "f"]) yield* world.disk.makeDirectory(world.at(name))
    for (let slot = 0; slot < handlesMost; slot++) {
      world.handles[slot] = yield* world.disk.open(world.at(`first${slot}`), { mode: "create" })
    }
    const kinds = [...Object.keys(moves), ...often]
    for (let step = 0; step < steps; step++) {
      const kind = world.chance.pick(kinds)
      const move = moves[kind]?.(world) ?? Effect.void
      const answer = yield* Effect.match(move, {
        onSuccess: (value) => value === undefined ? "done" : String(value),
        onFailure: ({ reason }) => reason._tag === "DiskFailed" ? reason.code : reason._tag
      })
      seen.push(`${step} ${kind}: ${answer}`)
    }
    return seen
  })

/** All directories, and all files with their contents. */
const tree = (
  disk: Disk["Service"],
  directory: string,
  prefix = ""
): Effect.Effect<ReadonlyArray<string>, StoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const found: Array<string> = []
    for (const name of yield* disk.list(`${directory}/${prefix}`)) {
      const path = `${prefix}${name}`
      const kind = yield* disk.kind(`${directory}/${path}`)
      if (kind === "directory") found.push(`${path}/`, ...yield* tree(disk, directory, `${path}/`))
      else {
        const file = yield* opened(disk, `${directory}/${path}`, "readOnly")
        found.push(`${path} ${hash(yield* contentOf(file))}`)
      }
    }
    return found
  })

interface Played {
  readonly seen: ReadonlyArray<string>
  readonly tree: ReadonlyArray<string>
}

const run = (disk: Disk["Service"], directory: string, seed: number): Effect.Effect<Played, StoreError> =>
  Effect.gen(function*() {
    const world = new World(disk, directory, random(seed))
    const seen = yield* play(world)
    for (const file of world.handles) yield* file.close
    return { seen, tree: yield* tree(disk, directory) }
  }).pipe(Effect.scoped)

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "heartwood-differential-"))),
  (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
)

describe("FaultDisk and the files of this machine", () => {
  afterAll(() => {
    figure("M1 operations of disks, by what came of them", figures)
    if (asked !== undefined) return
    for (const code of ["done", "EBADF", "EEXIST", "EINVAL", "EISDIR", "ENOENT", "ENOTDIR", "ENOTEMPTY"]) {
      assert.isAbove(figures[code] ?? 0, 5, code)
    }
  })

  for (const seed of seeds) {
    it.effect(`do the same for the operations of seed ${seed}`, () =>
      Effect.gen(function*() {
        const real = yield* Effect.flatMap(Disk, (disk) =>
          Effect.flatMap(temporary, (path) => run(disk, path, seed))).pipe(
            Effect.scoped,
            Effect.provide(NodeDisk.layer)
          )
        for (const answer of real.seen) {
          const code = /: ([A-Z]{4,}|done)$/.exec(answer)?.[1] ?? "value"
          figures[code] = (figures[code] ?? 0) + 1
        }
        yield* Effect.gen(function*() {
          const disk = yield* Disk
          const faults = yield* FaultDisk
          const fake = yield* run(disk, "", seed)
          assert.deepStrictEqual(fake.seen, real.seen)
          assert.deepStrictEqual(fake.tree, real.tree)
          const again = Effect.scoped(tree(disk, ""))
          yield* faults.kill
          assert.deepStrictEqual(yield* again, real.tree, "after a kill")
          yield* faults.crash({ keep: "everything" })
          assert.deepStrictEqual(yield* again, real.tree, "after a power cut that kept everything")
        }).pipe(Effect.provide(layer({ seed })))
      }))
  }

  it.effect("tell when one of them does something else", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      yield* (yield* FaultDisk).fail({ operation: "read", at: 3, outcome: { _tag: "Flipped", bit: 3 } })
      const seed = seeds[0] ?? 1
      const flipped = yield* run(disk, "", seed)
      const sound = yield* Effect.flatMap(Disk, (other) => run(other, "", seed)).pipe(
        Effect.provide(layer({ seed }), { local: true })
      )
      assert.notDeepEqual(flipped.seen, sound.seen)
      assert.strictEqual(yield* codeOf(disk.kind("/no/such/thing")), "done")
    }).pipe(Effect.provide(layer())))
})
