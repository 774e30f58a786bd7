/**
 * Safetensors, read and written: 8 bytes of header length (little-endian), a JSON header padded
 * with spaces to a multiple of 8, then the tensors' bytes back to back.
 */

import { bytesOf, floatsOf } from "./bytes.ts";
import { halfTable } from "./float16.ts";

/** Bytes of one element of each dtype that is read and written here. */
export const DTYPE_BYTES = { F32: 4, F16: 2, I32: 4, I64: 8, U8: 1 } as const;
export type Dtype = keyof typeof DTYPE_BYTES;

/** One tensor: its little-endian bytes in row-major order. */
export interface SafeTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A file in memory; tensors in the order of their bytes, which are views of the file's. */
export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The bytes are no safetensors file that this reader accepts. */
export class SafetensorsError extends Error {
  override readonly name = "SafetensorsError";
}

/** The format's own bound on the header. */
const MAX_HEADER_BYTES = 100_000_000;
const METADATA = "__metadata__";

/** A float32 tensor over the same memory as `values`. */
export function floatTensor(shape: readonly number[], values: Float32Array): SafeTensor {
  return { dtype: "F32", shape, bytes: bytesOf(values) };
}

/** The values of an F32 or F16 tensor as float32; a view of the same memory where that is aligned F32. */
export function tensorFloats(tensor: SafeTensor): Float32Array {
  if (tensor.dtype === "F32") return floatsOf(tensor.bytes);
  if (tensor.dtype === "F16") {
    const table = halfTable();
    const halves = new Uint16Array(tensor.bytes.slice().buffer); // sliced: a Uint16Array must be aligned
    return Float32Array.from(halves, (bits) => table[bits]);
  }
  throw new SafetensorsError(`expected an F32 or F16 tensor, got ${tensor.dtype}`);
}

/** A whole file as one array. Throws a `SafetensorsError` where a tensor's bytes do not fit its shape. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, SafeTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const parts = safetensorsParts(tensors, metadata);
  const file = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    file.set(part, offset);
    offset += part.byteLength;
  }
  return file;
}

/** A file as its header and its tensors' own memory, to be written one after the other without a copy. */
export function safetensorsParts(
  tensors: ReadonlyMap<string, SafeTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  // Wide elements first, else in the order given: then every tensor is aligned to its element.
  const ordered = [...tensors].sort((a, b) => DTYPE_BYTES[b[1].dtype] - DTYPE_BYTES[a[1].dtype]);
  const header: [string, unknown][] = Object.keys(metadata).length ? [[METADATA, metadata]] : [];
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of ordered) {
    if (name === METADATA) throw new SafetensorsError(`a tensor cannot be called ${METADATA}`);
    const expected = byteLengthOf(name, dtype, shape);
    if (bytes.byteLength !== expected)
      throw new SafetensorsError(
        `${name}: ${dtype} [${shape.join(", ")}] has ${expected} bytes (got ${bytes.byteLength})`,
      );
    header.push([name, { dtype, shape, data_offsets: [offset, offset + expected] }]);
    parts.push(bytes);
    offset += expected;
  }
  return [encodeHeader(header), ...parts];
}

/** Reads a file. Throws a `SafetensorsError` on anything that is not exactly right. */
export function decodeSafetensors(file: Uint8Array): SafetensorsFile {
  if (file.byteLength < 8)
    throw new SafetensorsError(
      `expected at least 8 bytes, got ${file.byteLength}: the file is cut off`,
    );
  const length = new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(Math.min(MAX_HEADER_BYTES, file.byteLength - 8)))
    throw new SafetensorsError(
      `a header of ${length} bytes does not fit a file of ${file.byteLength}: it is cut off or no safetensors file`,
    );
  const dataStart = 8 + Number(length);
  const entries = parseHeader(file.subarray(8, dataStart));
  const data = file.subarray(dataStart);
  let metadata: Record<string, string> = {};
  const placed: { name: string; tensor: SafeTensor; begin: number; end: number }[] = [];
  for (const [name, value] of entries) {
    if (name === METADATA) metadata = metadataOf(value);
    else placed.push({ name, ...tensorOf(name, value, data) });
  }
  placed.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let expected = 0;
  for (const { name, begin, end } of placed) {
    if (begin !== expected)
      throw new SafetensorsError(
        `${name} starts at ${begin}, expected ${expected}: tensors must follow each other without gap or overlap`,
      );
    expected = end;
  }
  if (expected !== data.byteLength)
    throw new SafetensorsError(
      `the tensors take ${expected} bytes, but the file holds ${data.byteLength}: it is cut off or has something appended`,
    );
  return { tensors: new Map(placed.map(({ name, tensor }) => [name, tensor])), metadata };
}

function encodeHeader(entries: readonly [string, unknown][]): Uint8Array {
  // Written key by key: an object would put integer-like names first and swallow `__proto__`.
  const members = entries.map(
    ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`,
  );
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  return bytes;
}

function parseHeader(bytes: Uint8Array): [string, unknown][] {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    throw new SafetensorsError(
      `the header is no JSON (${error instanceof Error ? error.message : error})`,
    );
  }
  if (!isRecord(header)) throw new SafetensorsError("the header must be a JSON object");
  const seen = new Set<string>();
  for (const key of topLevelKeys(text)) {
    if (seen.has(key)) throw new SafetensorsError(`the header names ${key} twice`);
    seen.add(key);
  }
  return Object.entries(header);
}

/** The keys of a JSON object's text, known to be valid, with duplicates: JSON.parse keeps only the last. */
function topLevelKeys(text: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  let last = "";
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/g)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (token !== ":") last = token;
    else if (depth === 1) keys.push(JSON.parse(last));
  }
  return keys;
}

function metadataOf(value: unknown): Record<string, string> {
  if (!isRecord(value)) throw new SafetensorsError(`${METADATA} must be an object`);
  for (const [key, text] of Object.entries(value))
    if (typeof text !== "string")
      throw new SafetensorsError(`${METADATA}.${key} must be a string (got ${typeof text})`);
  return value as Record<string, string>;
}

function tensorOf(name: string, value: unknown, data: Uint8Array) {
  if (!isRecord(value)) throw new SafetensorsError(`${name} must be an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BYTES, dtype))
    throw new SafetensorsError(
      `${name}: expected one of ${Object.keys(DTYPE_BYTES).join(", ")}, got ${JSON.stringify(dtype)}`,
    );
  if (!isListOfCounts(shape))
    throw new SafetensorsError(`${name}: the shape must be whole numbers`);
  if (!isListOfCounts(offsets) || offsets.length !== 2)
    throw new SafetensorsError(`${name}: data_offsets must be two whole numbers`);
  const [begin, end] = offsets;
  const expected = byteLengthOf(name, dtype as Dtype, shape);
  if (end - begin !== expected || end > data.byteLength)
    throw new SafetensorsError(
      `${name}: ${dtype} [${shape.join(", ")}] takes ${expected} bytes within ${data.byteLength} (got ${begin} to ${end})`,
    );
  const tensor: SafeTensor = { dtype: dtype as Dtype, shape, bytes: data.subarray(begin, end) };
  return { tensor, begin, end };
}

function byteLengthOf(name: string, dtype: Dtype, shape: readonly number[]): number {
  const bytes = shape.reduce((product, n) => product * n, DTYPE_BYTES[dtype]);
  if (!Number.isSafeInteger(bytes))
    throw new SafetensorsError(`${name}: the shape [${shape.join(", ")}] is too large`);
  return bytes;
}

function isListOfCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
