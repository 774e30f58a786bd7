/** One node on a device: units added to its sums, which are encoded there and read back once. */

import { floatsOf } from "@swarmvit/shared/bytes";
import { type Codec, decodeGradient } from "@swarmvit/shared/codec";
import type {
  Batch,
  EncodedNode,
  ModelConfig,
  NodeAccumulator,
  NodeGradient,
  UnitReport,
} from "../executor.ts";
import { checkUnit, UnsafeNumbersError } from "../safe-numbers.ts";
import { createGradientEncoder, type GradientEncoder } from "./gradient-encoder.ts";
import type { Guard } from "./guard.ts";
import type { NodeSum } from "./node-sum.ts";
import type { ProgramHost } from "./program.ts";
import { createReadBack, type ReadBack } from "./read-back.ts";
import type { UnitPrograms } from "./unit-programs.ts";
import { type DeviceWeights, fromDevice } from "./weights.ts";

/** What the nodes of an executor share. */
export interface NodeHost extends ProgramHost {
  readonly config: ModelConfig;
  readonly guard: Guard;
  readonly weights: DeviceWeights;
  readonly sum: NodeSum;
  readonly programs: UnitPrograms;
  readonly results: NodeResults;
}

/** Encoders and their staging buffers, kept from node to node. */
export interface NodeResults {
  of(codec: Codec): Promise<{ readonly encoder: GradientEncoder; readonly readBack: ReadBack }>;
  close(): void;
}

/** None yet; a codec that is never asked for compiles nothing. */
export function createNodeResults(host: ProgramHost, weights: DeviceWeights): NodeResults {
  const { memory, pipelines, unit, options } = host;
  const made = new Map<Codec, { encoder: GradientEncoder; readBack: ReadBack }>();
  return {
    async of(codec) {
      const known = made.get(codec);
      if (known) return known;
      const { table, parameters, statistics } = weights;
      const { device } = memory;
      const encoder = createGradientEncoder(
        ...([device, pipelines, codec, table, parameters, options.workgroup] as const),
      );
      await encoder.prepare();
      const bytes = encoder.result.bytes + statistics.length * 4;
      const result = { encoder, readBack: await createReadBack(device, pipelines, unit, bytes) };
      made.set(codec, result);
      return result;
    },
    close() {
      for (const { encoder, readBack } of made.values()) {
        encoder.close();
        readBack.close();
      }
    },
  };
}

/** Starts a node; the one before it is forgotten. */
export function startNode(host: NodeHost): NodeAccumulator {
  const { config, guard, weights, sum, programs, results } = host;
  sum.clear();
  const total = { samples: 0, loss: 0, top1: 0, top5: 0 };
  const sizes = new Map<string, readonly [number, number]>();

  const addUnit = async (batch: Batch, signal?: AbortSignal): Promise<UnitReport> => {
    signal?.throwIfAborted();
    const samples = checkBatch(batch, config.classes);
    const { height, width } = batch;
    const unit = await programs.of(height, width, samples, "training");
    await sum.prepare(sum.units + 1);
    signal?.throwIfAborted();
    weights.need("training");
    const { result, computeMs } = await programs.compute(unit, batch, (encoder) =>
      sum.add(encoder, samples),
    );
    const [loss, top1, top5] = result;
    if (!Number.isFinite(loss))
      throw new UnsafeNumbersError(
        "nonfinite",
        `the loss of a unit of ${samples} samples at ${height}x${width} is ${loss}; if it repeats on another device the weights diverged, else restart this one`,
      );
    sizes.set(`${height}x${width}`, [height, width]);
    total.samples += samples;
    total.loss += loss;
    total.top1 += top1;
    total.top5 += top5;
    return { loss, top1, top5, computeMs };
  };

  /** Encodes and reads the sums; what the coordinator will decode is what is checked. */
  const take = async (codec: Codec): Promise<EncodedNode & { decoded: Float32Array }> => {
    if (sum.units === 0) throw new Error("a node was finished before any unit was added");
    const { table, statistics } = weights;
    const { encoder: gradientEncoder, readBack } = await results.of(codec);
    const { device } = host.memory;
    const encoder = device.createCommandEncoder();
    sum.fold(encoder);
    const [gradients, moments] = sum.sums();
    gradientEncoder.encode(encoder, gradients);
    const token = programs.nextToken(0);
    const region = { buffer: moments, offset: 0, bytes: statistics.length * 4 };
    readBack.encode(encoder, [gradientEncoder.result, region]);
    device.queue.submit([encoder.finish()]);
    const [encoded, padded] = await readBack.read(token);
    sum.clear();
    const gradient = new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
    const decoded = decodeGradient(codec, table, gradient);
    for (const [height, width] of sizes.values())
      checkUnit(table, height, width, total.loss, decoded);
    return { ...total, gradient, decoded, statistics: fromDevice(statistics, padded) };
  };

  return {
    add: (batch, signal) => guard.run(() => addUnit(batch, signal)),
    finish: () =>
      guard.run(async (): Promise<NodeGradient> => {
        const { decoded, ...node } = await take("f32");
        return { ...node, gradient: floatsOf(node.gradient) };
      }),
    finishEncoded: (codec) =>
      guard.run(async (): Promise<EncodedNode> => {
        const { decoded, ...node } = await take(codec);
        return node;
      }),
    abandon: () => sum.clear(),
  };
}

/** The number of samples of a training batch whose parts agree. */
function checkBatch({ height, width, pixels, labels }: Batch, classes: number): number {
  if (pixels.length !== labels.length * height * width * 3)
    throw new Error(
      `a batch of ${labels.length} labels at ${height}x${width} needs ${labels.length * height * width * 3} pixel values, got ${pixels.length}`,
    );
  const wrong = labels.find((label) => !(label >= 0 && label < classes));
  if (wrong !== undefined)
    throw new Error(`label ${wrong} is not a class of this model (0 to ${classes - 1})`);
  return labels.length;
}
