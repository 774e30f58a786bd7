/** The IDX file format of MNIST (big-endian magic, dimensions, bytes), gzipped or not. */

import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { DataError } from "./data-error.ts";

const IMAGES_MAGIC = 0x00000803; // unsigned bytes, three dimensions
const LABELS_MAGIC = 0x00000801; // unsigned bytes, one dimension
/** Decompressed size above which a file is refused: IDX sets are small, a gzip bomb is not. */
const MAX_BYTES = 2 ** 31;

/** [count, height, width] grey bytes. */
export interface IdxImages {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly pixels: Uint8Array;
}

/** Reads an IDX image file; throws a `DataError` on a wrong magic number, size or compression. */
export async function readIdxImages(path: string): Promise<IdxImages> {
  const file = await readIdxFile(path, IMAGES_MAGIC, 16, "images");
  const [count, height, width] = [4, 8, 12].map((at) => file.readUInt32BE(at));
  if (height < 1 || width < 1) {
    throw new DataError(path, `its images are ${height}x${width} pixels`, "Use another file.");
  }
  checkSize(path, file.length, 16 + count * height * width, `${count} images ${height}x${width}`);
  return { count, height, width, pixels: file.subarray(16) };
}

/** Reads an IDX label file: one byte a sample; throws a `DataError` as `readIdxImages` does. */
export async function readIdxLabels(path: string): Promise<Uint8Array> {
  const file = await readIdxFile(path, LABELS_MAGIC, 8, "labels");
  const count = file.readUInt32BE(4);
  checkSize(path, file.length, 8 + count, `${count} labels`);
  return file.subarray(8);
}

async function readIdxFile(
  path: string,
  magic: number,
  headerBytes: number,
  kind: string,
): Promise<Buffer> {
  let file: Buffer = await readFile(path);
  if (file[0] === 0x1f && file[1] === 0x8b) {
    try {
      file = await promisify(gunzip)(file, { maxOutputLength: MAX_BYTES });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new DataError(
        path,
        `its gzip data cannot be read (${reason})`,
        "Download or copy the file again.",
        { cause: error },
      );
    }
  }
  const found = file.length >= headerBytes ? file.readUInt32BE(0) : undefined;
  if (found !== magic) {
    const got = found === undefined ? `${file.length} bytes` : `0x${hex(found)}`;
    throw new DataError(
      path,
      `expected an IDX file of ${kind}, which starts with 0x${hex(magic)}, got ${got}`,
      "Name an IDX file of unsigned bytes, as MNIST has them.",
    );
  }
  return file;
}

function checkSize(path: string, got: number, expected: number, content: string): void {
  if (got === expected) return;
  throw new DataError(
    path,
    `expected ${expected} bytes for ${content}, got ${got}`,
    "The file is truncated or damaged: download or copy it again.",
  );
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
