/**
 * The contribution frame (DESIGN section 6): a fixed little-endian header, then three sections:
 * report, statistics, gradient. The coordinator knows what it leased, so every field is compared
 * with what it expects before anything is allocated.
 */

import { bytesOf, crc32, floatsOf } from "./bytes.ts";
import {
  CODECS,
  type Codec,
  decodeGradient,
  encodedGradientBytes,
  encodeGradient,
} from "./codec.ts";
import type { ParameterTable } from "./parameters.ts";

export type ContributionKind = "gradient" | "evaluation";

/** What identifies a contribution; all of it is known to both ends from the lease. */
export interface FrameId {
  /** Run id, 16 hex digits. */
  readonly run: string;
  readonly kind: ContributionKind;
  readonly codec: Codec;
  readonly step: number;
  readonly level: number;
  readonly index: number;
  readonly samples: number;
  readonly lease: number;
  /** 32 hex digits, unforgeable (an HMAC of the lease). */
  readonly token: string;
}

/** What a node reports besides vectors. Counts are whole; loss is summed over samples. */
export interface Report {
  readonly loss: number;
  readonly top1: number;
  readonly top5: number;
  readonly computeMs: number;
}

export interface Contribution {
  readonly report: Report;
  /** Σ b·s, [statisticsCount]; empty for an evaluation. */
  readonly statistics: Float32Array;
  /** Σ over samples, [parameterCount]; empty for an evaluation. */
  readonly gradient: Float32Array;
}

/** Why a frame, or a message about one, is refused. Both ends branch on these. */
export type RefusalCode =
  | "MALFORMED" // not a frame, or trailing or missing bytes
  | "VERSION"
  | "CODEC"
  | "KIND"
  | "RUN"
  | "STEP"
  | "NODE"
  | "SAMPLES"
  | "LEASE" // no such lease, or somebody else's
  | "TOKEN"
  | "SIZE"
  | "CHECKSUM"
  | "COUNTS" // impossible counts: top-1 above top-5 above samples, negative loss
  | "NON_FINITE"
  | "ZERO" // an all-zero contribution, or a zero tensor whose gradient is not null
  | "EXPIRED" // the lease has ended and the node is filled or given away
  | "DUPLICATE" // the node was filled before
  | "STALE" // the step is over
  | "BUSY"; // no credit: too many bytes in flight

export class FrameError extends Error {
  readonly code: RefusalCode;
  constructor(code: RefusalCode, message: string) {
    super(message);
    this.name = "FrameError";
    this.code = code;
  }
}

export const FRAME_HEADER_BYTES = 80;
const MAGIC = 0x43565753; // "SWVC" in little-endian order
const VERSION = 1;
const REPORT_BYTES = 24;
const KINDS: readonly ContributionKind[] = ["gradient", "evaluation"];

/** The exact length of a frame: what a lease announces and an upload must have. */
export function frameBytes(kind: ContributionKind, codec: Codec, table: ParameterTable): number {
  const vectors =
    kind === "gradient" ? 4 * table.statisticsCount + encodedGradientBytes(codec, table) : 0;
  return FRAME_HEADER_BYTES + REPORT_BYTES + vectors;
}

/** A contribution to be sent; its gradient may be encoded by the frame's codec already. */
export interface Outgoing extends Omit<Contribution, "gradient"> {
  readonly gradient: Float32Array | Uint8Array;
}

/** CRC-32 of bytes: ours, or a faster one of the platform's. */
export type Checksum = (bytes: Uint8Array) => number;

/** Encodes a contribution as the frame of its lease. */
export function encodeFrame(
  id: FrameId,
  table: ParameterTable,
  contribution: Outgoing,
  checksum: Checksum = crc32,
): Uint8Array {
  const bytes = new Uint8Array(frameBytes(id.kind, id.codec, table));
  const view = new DataView(bytes.buffer);
  const report = FRAME_HEADER_BYTES;
  view.setFloat64(report, contribution.report.loss, true);
  view.setUint32(report + 8, contribution.report.top1, true);
  view.setUint32(report + 12, contribution.report.top5, true);
  view.setFloat32(report + 16, contribution.report.computeMs, true);
  const statistics = report + REPORT_BYTES;
  let statisticsBytes = 0;
  if (id.kind === "gradient") {
    statisticsBytes = 4 * table.statisticsCount;
    bytes.set(bytesOf(contribution.statistics), statistics);
    const { gradient } = contribution;
    const encoded =
      gradient instanceof Uint8Array ? gradient : encodeGradient(id.codec, table, gradient);
    bytes.set(encoded, statistics + statisticsBytes);
  }
  writeHeader(view, id, statisticsBytes);
  for (let i = 0; i < 16; i++)
    bytes[56 + i] = Number.parseInt(id.token.slice(2 * i, 2 * i + 2), 16);
  view.setUint32(52, checksum(bytes.subarray(FRAME_HEADER_BYTES)), true);
  return bytes;
}

/**
 * Compares a frame's header with the lease it must answer, in O(1) and without allocating. Throws
 * `FrameError` with the code of the first field that differs. `bytes` may be the frame's beginning;
 * `length` is then the whole frame's.
 */
export function checkHeader(
  bytes: Uint8Array,
  expected: FrameId,
  table: ParameterTable,
  length: number = bytes.byteLength,
): void {
  if (bytes.byteLength < FRAME_HEADER_BYTES)
    throw new FrameError(
      "MALFORMED",
      `a frame has at least ${FRAME_HEADER_BYTES} bytes (got ${bytes.byteLength})`,
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const expect = (
    code: RefusalCode,
    what: string,
    wanted: number | string,
    got: number | string,
  ) => {
    if (wanted !== got) throw new FrameError(code, `${what}: expected ${wanted}, got ${got}`);
  };
  expect("MALFORMED", "magic", MAGIC, view.getUint32(0, true));
  expect("VERSION", "frame version", VERSION, view.getUint16(4, true));
  expect("CODEC", "codec", expected.codec, CODECS[view.getUint8(6)] ?? "unknown");
  expect("KIND", "kind", expected.kind, KINDS[view.getUint8(7)] ?? "unknown");
  expect("RUN", "run", expected.run, hexAt(bytes, 8, 8));
  expect("STEP", "step", expected.step, view.getUint32(16, true));
  expect("NODE", "node level", expected.level, view.getUint32(20, true));
  expect("NODE", "node index", expected.index, view.getUint32(24, true));
  expect("SAMPLES", "samples", expected.samples, view.getUint32(28, true));
  expect("LEASE", "lease", expected.lease, view.getFloat64(32, true));
  const gradientSection =
    expected.kind === "gradient" ? encodedGradientBytes(expected.codec, table) : 0;
  expect("SIZE", "report section", REPORT_BYTES, view.getUint32(40, true));
  expect(
    "SIZE",
    "statistics section",
    expected.kind === "gradient" ? 4 * table.statisticsCount : 0,
    view.getUint32(44, true),
  );
  expect("SIZE", "gradient section", gradientSection, view.getUint32(48, true));
  expect("SIZE", "frame", frameBytes(expected.kind, expected.codec, table), length);
  expect("MALFORMED", "reserved bytes", 0, view.getUint32(72, true) | view.getUint32(76, true));
  if (!sameToken(bytes, expected.token)) throw new FrameError("TOKEN", "the lease token is wrong");
}

/** A checked frame whose gradient is still as it came: the same memory. */
export interface OpenedFrame extends Omit<Contribution, "gradient"> {
  /** In the lease's codec; empty for an evaluation. */
  readonly gradient: Uint8Array;
}

/** Checks a whole frame against its lease and decodes it. Throws `FrameError`. */
export function decodeFrame(
  bytes: Uint8Array,
  expected: FrameId,
  table: ParameterTable,
): Contribution {
  const opened = openFrame(bytes, expected, table);
  return { ...opened, gradient: decodeFrameGradient(opened, expected, table) };
}

/** The gradient of an opened frame, [parameterCount]; empty for an evaluation. Throws `FrameError`. */
export function decodeFrameGradient(
  { gradient }: OpenedFrame,
  { kind, codec }: FrameId,
  table: ParameterTable,
): Float32Array {
  if (kind === "evaluation") return new Float32Array(0);
  try {
    return decodeGradient(codec, table, gradient);
  } catch (error) {
    throw new FrameError("MALFORMED", error instanceof Error ? error.message : String(error));
  }
}

/** Checks a frame against its lease, all but the values in its vectors. Throws `FrameError`. */
export function openFrame(
  bytes: Uint8Array,
  expected: FrameId,
  table: ParameterTable,
  checksum: Checksum = crc32,
): OpenedFrame {
  checkHeader(bytes, expected, table);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const payload = bytes.subarray(FRAME_HEADER_BYTES);
  if (view.getUint32(52, true) !== checksum(payload))
    throw new FrameError(
      "CHECKSUM",
      "the payload does not match its checksum: it was damaged on the way",
    );
  const report: Report = {
    loss: view.getFloat64(FRAME_HEADER_BYTES, true),
    top1: view.getUint32(FRAME_HEADER_BYTES + 8, true),
    top5: view.getUint32(FRAME_HEADER_BYTES + 12, true),
    computeMs: view.getFloat32(FRAME_HEADER_BYTES + 16, true),
  };
  if (!Number.isFinite(report.loss))
    throw new FrameError("NON_FINITE", `the loss is ${report.loss}`);
  if (report.loss < 0 || report.top1 > report.top5 || report.top5 > expected.samples)
    throw new FrameError(
      "COUNTS",
      `0 ≤ loss and top-1 ≤ top-5 ≤ ${expected.samples} was expected (got ${report.loss}, ${report.top1}, ${report.top5})`,
    );
  const statisticsBytes = expected.kind === "gradient" ? 4 * table.statisticsCount : 0;
  const gradientAt = REPORT_BYTES + statisticsBytes;
  return {
    report,
    statistics: floatsOf(payload.subarray(REPORT_BYTES, gradientAt)),
    gradient: payload.subarray(gradientAt),
  };
}

function writeHeader(view: DataView, id: FrameId, statisticsBytes: number): void {
  const total = view.byteLength;
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  view.setUint8(6, CODECS.indexOf(id.codec));
  view.setUint8(7, KINDS.indexOf(id.kind));
  for (let i = 0; i < 8; i++)
    view.setUint8(8 + i, Number.parseInt(id.run.slice(2 * i, 2 * i + 2), 16));
  view.setUint32(16, id.step, true);
  view.setUint32(20, id.level, true);
  view.setUint32(24, id.index, true);
  view.setUint32(28, id.samples, true);
  view.setFloat64(32, id.lease, true);
  view.setUint32(40, REPORT_BYTES, true);
  view.setUint32(44, statisticsBytes, true);
  view.setUint32(48, total - FRAME_HEADER_BYTES - REPORT_BYTES - statisticsBytes, true);
}

function hexAt(bytes: Uint8Array, offset: number, count: number): string {
  let hex = "";
  for (let i = 0; i < count; i++) hex += bytes[offset + i].toString(16).padStart(2, "0");
  return hex;
}

/** Without an early exit: the time tells nothing about how much of a guess was right. */
function sameToken(bytes: Uint8Array, token: string): boolean {
  let difference = 0;
  for (let i = 0; i < 16; i++)
    difference |= bytes[56 + i] ^ Number.parseInt(token.slice(2 * i, 2 * i + 2), 16);
  return difference === 0;
}
