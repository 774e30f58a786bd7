/** The work of one lease: fetch, decode, accumulate, encode; and what stays open between leases. */

import { allFinite } from "@swarmvit/shared/finite";
import {
  type Checksum,
  encodeFrame,
  type FrameId,
  type Outgoing,
  type Report,
} from "@swarmvit/shared/frame";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import type { Lease, RunInfo } from "@swarmvit/shared/protocol";
import type { Batch, Executor } from "../engine/executor.ts";
import { score } from "../engine/score.ts";
import { buildBatch } from "../input/batch.ts";
import type { Decode } from "../input/decode.ts";
import { createPixelCache, type PixelCache } from "../input/pixel-cache.ts";
import type { LeaseProgress } from "./compute-port.ts";
import { DownloadError, type Downloads, openDownloads } from "./download.ts";
import type { FoundDevice } from "./executors.ts";
import { rest } from "./rest.ts";
import { restMs } from "./throttle.ts";

/** The vectors of an evaluation. */
const NOTHING = new Float32Array();
/** Decoded images kept, for each split. */
const PIXEL_CACHE_BYTES = 96 * 2 ** 20;

/** What is open while a run is. */
export interface OpenRun {
  readonly run: RunInfo;
  readonly table: ParameterTable;
  readonly executor: Executor;
  readonly downloads: Downloads;
  readonly caches: Readonly<Record<Lease["kind"], PixelCache>>;
  /** First batches of leases that wait for their turn, by lease. */
  readonly made: Map<number, Promise<Batch>>;
  /** Hashes of the weights that the executor holds. */
  held: string;
}

type Tell = (progress: LeaseProgress) => void;

/** What differs between a browser and Node. */
export interface LeasePlatform {
  readonly decode: Decode;
  /** A faster CRC-32 than ours, where the platform has one. */
  readonly checksum?: Checksum;
}

/** Makes the executor and the caches of a run. */
export async function openRun(device: FoundDevice, run: RunInfo, origin: string): Promise<OpenRun> {
  const { variant, classes, dropout, headDropout, smoothing } = run;
  const table = parameterTable(variant, classes.length);
  if (table.parameterCount !== run.parameterCount)
    throw new Error(
      `the run has ${run.parameterCount} parameters, this build's ${variant} has ${table.parameterCount}: reload`,
    );
  const config = { variant, classes: classes.length, dropout, headDropout, smoothing };
  return {
    run,
    table,
    executor: await device.createExecutor(config),
    downloads: openDownloads({ origin, codec: run.codec, table }),
    caches: {
      gradient: createPixelCache(PIXEL_CACHE_BYTES),
      evaluation: createPixelCache(PIXEL_CACHE_BYTES),
    },
    made: new Map(),
    held: "",
  };
}

/**
 * Gets what a lease needs while another one is computed: its weights, its shards, its first batch.
 * Failures are remembered nowhere: `frameOfLease` asks again and tells.
 */
export async function prefetchLease(
  open: OpenRun,
  lease: Lease,
  decode: Decode,
  signal: AbortSignal,
): Promise<void> {
  const { downloads, table, made } = open;
  const batch = batchOf(open, lease, 0, decode, signal);
  made.set(lease.lease, batch);
  const settled = await Promise.allSettled([
    fetchParameters(downloads, table, lease),
    ...lease.shards.map((shard) => downloads.shard(shard)),
    batch,
  ]);
  if (settled.at(-1)?.status === "rejected") made.delete(lease.lease);
}

/**
 * Computes a lease to its frame, unit by unit. Between units it rests as the throttle says, and stops
 * with the signal's reason. Errors: `DownloadError`, `UndecodableSample`, `NonFinite`, the executor's own.
 */
export async function frameOfLease(
  open: OpenRun,
  lease: Lease,
  { decode, checksum }: LeasePlatform,
  signal: AbortSignal,
  tell: Tell,
  throttle: () => number,
): Promise<Uint8Array> {
  const { executor, table, run } = open;
  const encode = (
    report: Report,
    gradient?: Float32Array | Uint8Array,
    statistics?: Float32Array,
  ) => frameOf({ ...lease, run: run.id }, lease, table, checksum, { report, gradient, statistics });
  const telling = (stage: LeaseProgress["stage"], done: number, milliseconds = 0) => {
    // Between units: the size of the next one, the images of the last.
    const at = lease.units[Math.min(done, lease.units.length - 1)];
    const samples = milliseconds > 0 ? lease.units[done - 1].samples.length : 0;
    const { height, width } = at;
    const units = lease.units.length;
    tell({ lease: lease.lease, stage, done, units, height, width, samples, milliseconds });
  };
  telling("fetching", 0);
  // Decoded while the weights are on their way, or before.
  let next = open.made.get(lease.lease) ?? batchOf(open, lease, 0, decode, signal);
  open.made.delete(lease.lease);
  await loadWeights(open, lease, signal);
  for (const shard of lease.ahead ?? []) open.downloads.shard(shard).catch(() => {});
  const node = lease.kind === "gradient" ? executor.startNode() : undefined;
  const report = { loss: 0, top1: 0, top5: 0, computeMs: 0 };
  try {
    for (let i = 0; i < lease.units.length; i++) {
      const start = performance.now();
      const batch = await next;
      if (i === 0) telling("computing", 0);
      if (i + 1 < lease.units.length) {
        next = batchOf(open, lease, i + 1, decode, signal);
        // Its decoding begins in this turn and goes on in other threads while this one computes.
        await rest(0, signal);
      }
      const unit = node ? await node.add(batch, signal) : await evaluate(executor, batch);
      if (!Number.isFinite(unit.loss))
        throw new NonFinite(`the loss of unit ${lease.units[i].index} is ${unit.loss}`);
      const milliseconds = performance.now() - start;
      report.loss += unit.loss;
      report.top1 += unit.top1;
      report.top5 += unit.top5;
      report.computeMs += milliseconds;
      telling("computing", i + 1, milliseconds);
      // A turn of the event loop even at full speed: here `stop` is heard.
      await rest(restMs(milliseconds, throttle()), signal);
    }
  } catch (error) {
    node?.abandon();
    throw error;
  }
  const { computeMs } = report;
  if (!node) return encode({ ...report, computeMs });
  const sum = await (node.finishEncoded?.(lease.codec) ?? node.finish());
  // An executor that encodes has checked what it encoded.
  const vectors = [sum.statistics, ...(sum.gradient instanceof Uint8Array ? [] : [sum.gradient])];
  if (!vectors.every(allFinite)) throw new NonFinite("the gradient has values that are not finite");
  const { loss, top1, top5, gradient, statistics } = sum;
  return encode({ loss, top1, top5, computeMs }, gradient, statistics);
}

function batchOf(
  { run, downloads, caches }: OpenRun,
  lease: Lease,
  unit: number,
  decode: Decode,
  signal: AbortSignal,
): Promise<Batch> {
  const { kind } = lease;
  const getSample = (id: number) => sampleOf(downloads, lease, id, signal);
  const cache = caches[kind];
  const { augment } = run;
  const batch = buildBatch(lease.units[unit], { kind, getSample, decode, augment, cache }, signal);
  batch.catch(() => {}); // made ahead of its turn: awaited later, or never
  return batch;
}

function frameOf(
  id: FrameId,
  lease: Lease,
  table: ParameterTable,
  checksum: Checksum | undefined,
  { report, gradient = NOTHING, statistics = NOTHING }: Partial<Outgoing> & { report: Report },
): Uint8Array {
  const frame = encodeFrame(id, table, { report, gradient, statistics }, checksum);
  if (frame.byteLength !== lease.bytes)
    throw new Error(`the lease expects ${lease.bytes} bytes, its frame has ${frame.byteLength}`);
  return frame;
}

async function loadWeights(open: OpenRun, lease: Lease, signal: AbortSignal): Promise<void> {
  const { downloads, table, executor } = open;
  const key = `${lease.weights}/${lease.statistics ?? ""}`;
  if (open.held === key) return;
  const [parameters, statistics] = await Promise.all([
    fetchParameters(downloads, table, lease, signal),
    lease.statistics
      ? downloads.weights(lease.statistics, table.statisticsCount, signal)
      : undefined,
  ]);
  open.held = "";
  await executor.setWeights(parameters, statistics);
  open.held = key;
}

/** An evaluation's may be the averaged ones, which only travel whole. */
function fetchParameters(
  downloads: Downloads,
  table: ParameterTable,
  { kind, weights }: Lease,
  signal?: AbortSignal,
): Promise<Float32Array> {
  return kind === "gradient"
    ? downloads.published(weights, signal)
    : downloads.weights(weights, table.parameterCount, signal);
}

async function sampleOf(downloads: Downloads, lease: Lease, id: number, signal: AbortSignal) {
  const shard = lease.shards.find(({ first, count }) => id >= first && id < first + count);
  if (!shard) throw new DownloadError(`no shard of the lease holds sample ${id}`);
  const samples = await downloads.shard(shard, signal);
  return samples[id - shard.first];
}

async function evaluate(executor: Executor, batch: Batch) {
  const logits = await executor.predict(batch);
  if (!logits.every(Number.isFinite)) throw new NonFinite("logits are not finite");
  return score(logits, batch.labels);
}

/** Thrown where the device (or the run) gives numbers that are not finite: nothing is sent. */
export class NonFinite extends Error {
  override readonly name = "NonFinite";
}
