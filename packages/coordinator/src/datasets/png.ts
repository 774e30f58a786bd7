/**
 * A minimal PNG writer for raw 8-bit pixels (greyscale or RGB): one IDAT, no row filters. For a
 * 28x28 image a general encoder takes far longer to set up than to encode.
 */

import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** Encodes [height, width, channels] bytes, row-major; `channels` is 1 (grey) or 3 (RGB). */
export function encodePng(
  pixels: Uint8Array,
  width: number,
  height: number,
  channels: 1 | 3,
): Uint8Array {
  const rowBytes = width * channels;
  if (pixels.length !== rowBytes * height || pixels.length === 0) {
    throw new RangeError(
      `Expected ${height}x${width}x${channels} bytes of pixels, got ${pixels.length}.`,
    );
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8; // bits a channel
  header[9] = channels === 1 ? 0 : 2; // greyscale or truecolour
  const rows = Buffer.alloc((rowBytes + 1) * height); // each row after its filter byte, 0 = none
  for (let y = 0; y < height; y++) {
    rows.set(pixels.subarray(y * rowBytes, (y + 1) * rowBytes), y * (rowBytes + 1) + 1);
  }
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/**
 * Decodes what `encodePng` made, checking checksums and sizes; throws on any other PNG. It proves
 * that the bytes hold the pixels without the set-up cost of a general decoder.
 */
export function decodePng(png: Uint8Array): {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly pixels: Uint8Array;
} {
  const bytes = Buffer.from(png.buffer, png.byteOffset, png.byteLength);
  if (!bytes.subarray(0, 8).equals(SIGNATURE)) throw new Error("it is no PNG");
  const header = takeChunk(bytes, 8, "IHDR");
  const data = takeChunk(bytes, 8 + 12 + header.length, "IDAT");
  const width = header.readUInt32BE(0);
  const height = header.readUInt32BE(4);
  const channels = header[9] === 0 ? 1 : 3;
  const rowBytes = width * channels;
  const rows = inflateSync(data, { maxOutputLength: (rowBytes + 1) * height });
  if (rows.length !== (rowBytes + 1) * height) throw new Error("its PNG data is too short");
  const pixels = Buffer.alloc(rowBytes * height);
  for (let y = 0; y < height; y++) {
    const row = y * (rowBytes + 1);
    if (rows[row] !== 0) throw new Error("its PNG rows are filtered");
    rows.copy(pixels, y * rowBytes, row + 1, row + 1 + rowBytes);
  }
  return { width, height, channels, pixels };
}

function takeChunk(bytes: Buffer, at: number, type: string): Buffer {
  const length = bytes.readUInt32BE(at);
  const end = at + 8 + length;
  if (bytes.toString("latin1", at + 4, at + 8) !== type) throw new Error(`its PNG lacks ${type}`);
  if (crc32(bytes.subarray(at + 4, end)) !== bytes.readUInt32BE(end)) {
    throw new Error(`the checksum of its PNG's ${type} is wrong`);
  }
  return bytes.subarray(at + 8, end);
}

function chunk(type: string, data: Buffer): Buffer {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, "latin1");
  data.copy(out, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
}
