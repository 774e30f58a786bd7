/**
 * The shard: a file of encoded samples that the coordinator packs and a volunteer unpacks. All
 * integers are little-endian uint32: magic "SWSH", version, count, then count rows of (offset from
 * the start of the file, length, label), then the samples' bytes, back to back in the same order.
 */

/** One encoded image (PNG, JPEG or WebP) and its class id. */
export interface ShardSample {
  readonly bytes: Uint8Array;
  readonly label: number;
}

/** Thrown by `decodeShard` on bytes that are no shard: truncated, altered or of another version. */
export class ShardFormatError extends Error {
  override readonly name = "ShardFormatError";
}

const MAGIC = 0x48535753; // "SWSH"
const VERSION = 1;
const HEADER_BYTES = 12;
const ROW_BYTES = 12;
const MAX_BYTES = 0xffffffff;

/** Bytes that a shard has before its first sample. */
export function shardHeaderBytes(count: number): number {
  return HEADER_BYTES + ROW_BYTES * count;
}

/**
 * The header and table of a shard whose samples have these lengths and labels; the samples' bytes
 * follow it. Throws a RangeError where a length is 0, a label is no uint32, or the file passes 4 GiB.
 */
export function encodeShardHeader(
  samples: readonly { readonly length: number; readonly label: number }[],
): Uint8Array {
  const header = new Uint8Array(shardHeaderBytes(samples.length));
  const view = new DataView(header.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, samples.length, true);
  let offset = header.length;
  for (const [i, { length, label }] of samples.entries()) {
    if (length < 1) throw new RangeError(`Sample ${i} of a shard has no bytes.`);
    if (label >>> 0 !== label) throw new RangeError(`Sample ${i} of a shard has label ${label}.`);
    const row = shardHeaderBytes(i);
    view.setUint32(row, offset, true);
    view.setUint32(row + 4, length, true);
    view.setUint32(row + 8, label, true);
    offset += length;
    if (offset > MAX_BYTES) {
      throw new RangeError("A shard is limited to 4 GiB: pack fewer samples into each shard.");
    }
  }
  return header;
}

/** A whole shard in memory; `decodeShard` gives the samples back. */
export function encodeShard(samples: readonly ShardSample[]): Uint8Array {
  const header = encodeShardHeader(
    samples.map(({ bytes, label }) => ({ length: bytes.length, label })),
  );
  const total = samples.reduce((sum, { bytes }) => sum + bytes.length, header.length);
  const shard = new Uint8Array(total);
  shard.set(header);
  let offset = header.length;
  for (const { bytes } of samples) {
    shard.set(bytes, offset);
    offset += bytes.length;
  }
  return shard;
}

/**
 * The samples of a shard as views of `shard` (no copy). Every field is checked against the file's
 * size, and labels against `classes` where that is given: anything wrong is a `ShardFormatError`,
 * and there is exactly one file for a list of samples.
 */
export function decodeShard(shard: Uint8Array, classes = Number.POSITIVE_INFINITY): ShardSample[] {
  if (shard.length < HEADER_BYTES) {
    throw new ShardFormatError(
      `A shard has at least ${HEADER_BYTES} bytes, got ${shard.length}: fetch it again.`,
    );
  }
  const view = new DataView(shard.buffer, shard.byteOffset, shard.byteLength);
  if (view.getUint32(0, true) !== MAGIC) {
    throw new ShardFormatError('A shard starts with "SWSH", this file does not: fetch it again.');
  }
  const version = view.getUint32(4, true);
  if (version !== VERSION) {
    throw new ShardFormatError(
      `Expected shard version ${VERSION}, got ${version}: coordinator and volunteer differ, reload.`,
    );
  }
  const count = view.getUint32(8, true);
  // Compared before anything is allocated for `count` samples.
  if (count > (shard.length - HEADER_BYTES) / ROW_BYTES) {
    throw new ShardFormatError(
      `A shard of ${count} samples has a longer table than its ${shard.length} bytes: fetch it again.`,
    );
  }
  const samples: ShardSample[] = [];
  let expectedOffset = shardHeaderBytes(count);
  for (let i = 0; i < count; i++) {
    const row = shardHeaderBytes(i);
    const offset = view.getUint32(row, true);
    const length = view.getUint32(row + 4, true);
    const label = view.getUint32(row + 8, true);
    if (offset !== expectedOffset || length < 1 || length > shard.length - offset) {
      throw new ShardFormatError(
        `Sample ${i} of a shard: expected it at ${expectedOffset} and within ${shard.length} bytes, ` +
          `got offset ${offset} and length ${length}: fetch it again.`,
      );
    }
    if (label >= classes) {
      throw new ShardFormatError(
        `Sample ${i} of a shard has label ${label}, expected less than ${classes}: fetch it again.`,
      );
    }
    samples.push({ bytes: shard.subarray(offset, offset + length), label });
    expectedOffset += length;
  }
  if (expectedOffset !== shard.length) {
    throw new ShardFormatError(
      `Expected a shard of ${expectedOffset} bytes by its table, got ${shard.length}: fetch it again.`,
    );
  }
  return samples;
}
