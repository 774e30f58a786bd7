/**
 * One step of the optimizer as data: what is applied to the vectors and what the write-ahead log
 * keeps, so that doing it again from the log gives the same bits.
 */

import { bytesOf, floatsOf } from "@swarmvit/shared/bytes";
import { type Codec, decodeGradient, encodedGradientBytes } from "@swarmvit/shared/codec";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import { updateStatistics } from "../core/average.ts";
import { stepEma } from "../core/ema.ts";
import type { StepLog } from "../core/messages.ts";
import type { AdamWConfig } from "../core/optimizer.ts";
import { vectorKernels } from "./kernels.ts";
import { publishWeights } from "./publish-weights.ts";
import type { VectorState } from "./vector-state.ts";

/** The numbers of a step. JSON keeps every bit of a float64. */
export interface StepScalars {
  /** N: samples of the step. */
  readonly samples: number;
  readonly lr: number;
  /** Logged, not computed again: `**` need not give the same bits in another engine. */
  readonly biasCorrection1: number;
  readonly biasCorrection2: number;
  readonly emaMomentum: number;
}

export interface StepUpdate extends StepScalars {
  /** Averaged and clipped, [parameterCount]. */
  readonly gradient: Float32Array;
  /** Σ(b·s) over the step's units, [statisticsCount]. */
  readonly statistics: Float32Array;
}

/** JSON, gradient and statistics: the parts of a record's body. */
export type RecordBody = readonly [Uint8Array, Uint8Array, Uint8Array];

/** What the log says of a step beside its vectors. */
export interface StepEntry extends StepScalars {
  readonly gradNorm: number;
  /** SHA-256 of the published weights that the step starts from: a record fits in one place only. */
  readonly from: string;
  readonly log: StepLog;
}

/** Applies a step, in place. Returns the delta of the published weights where the codec has one. */
export function applyUpdate(
  state: VectorState,
  table: ParameterTable,
  codec: Codec,
  optimizer: AdamWConfig,
  update: StepUpdate,
): Uint8Array | undefined {
  vectorKernels().stepAdamW(state, update.gradient, table.parameters, optimizer, update);
  updateStatistics(state.statistics, update.statistics, update.samples);
  stepEma(state.emaWeights, state.weights, update.emaMomentum);
  stepEma(state.emaStatistics, state.statistics, update.emaMomentum);
  state.steps++;
  return publishWeights(codec, table, state.weights, state.published);
}

/**
 * The body of a log record: length of the JSON u32 · JSON, padded with spaces to 4 · gradient ·
 * statistics f32. The gradient is in f32 where the run's codec is, else in f16 with a power-of-two
 * scale a tensor; `gradient` becomes the value that is written, which is what to apply. `before` is a
 * body that nobody needs any more: its memory is used again.
 */
export function encodeRecord(
  table: ParameterTable,
  codec: Codec,
  entry: StepEntry,
  gradient: Float32Array,
  statistics: Float32Array,
  before?: RecordBody,
): RecordBody {
  const json = Buffer.from(JSON.stringify(entry));
  const head = new Uint8Array(4 + padTo4(json.byteLength)).fill(32);
  new DataView(head.buffer).setUint32(0, head.byteLength - 4, true);
  head.set(json, 4);
  const kept = keptCodec(codec);
  const encoded =
    kept === "f32"
      ? bytesOf(gradient)
      : vectorKernels().roundToHalves(table, gradient, before?.[1]);
  return [head, encoded, bytesOf(statistics)];
}

/** Reads a record's body, the gradient into `out`. Errors where it is not one of this model and codec. */
export function decodeRecord(
  table: ParameterTable,
  codec: Codec,
  body: Uint8Array,
  out?: Float32Array,
): { readonly entry: StepEntry; readonly update: StepUpdate } {
  const kept = keptCodec(codec);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const gradientAt = 4 + view.getUint32(0, true);
  const statisticsAt = gradientAt + encodedGradientBytes(kept, table);
  const expected = statisticsAt + 4 * table.statisticsCount;
  if (body.byteLength !== expected)
    throw new Error(`a record of ${expected} bytes was expected (got ${body.byteLength})`);
  const entry: StepEntry = JSON.parse(Buffer.from(body.subarray(4, gradientAt)).toString("utf8"));
  const gradient = decodeGradient(kept, table, body.subarray(gradientAt, statisticsAt), out);
  const statistics = floatsOf(body.subarray(statisticsAt));
  return { entry, update: { ...entry, gradient, statistics } };
}

/** How the log keeps gradients of a run. */
function keptCodec(codec: Codec): "f32" | "f16" {
  return codec === "f32" ? "f32" : "f16";
}

function padTo4(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
