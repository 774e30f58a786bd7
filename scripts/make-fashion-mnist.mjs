// Makes packages/coordinator/data/fashion-mnist from the original files: the first 10,000 training
// and the first 2,000 test images. The originals are in Debian's package dataset-fashion-mnist and at
// https://github.com/zalandoresearch/fashion-mnist.
//
//   node scripts/make-fashion-mnist.mjs [directory of the originals]

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

const source = process.argv[2] ?? "/usr/share/datasets/fashion-mnist";
const target = fileURLToPath(
  new URL("../packages/coordinator/data/fashion-mnist/", import.meta.url),
);

for (const [split, count] of [
  ["train", 10_000],
  ["t10k", 2_000],
]) {
  const labels = shorten(`${split}-labels-idx1-ubyte.gz`, count);
  shorten(`${split}-images-idx3-ubyte.gz`, count);
  const perClass = new Array(10).fill(0);
  for (const label of labels.subarray(8)) perClass[label]++;
  console.log(`${split}: ${count} samples, per class ${perClass.join(" ")}`);
}

/** Writes the first `count` items of an IDX file, recompressed, and returns its new content. */
function shorten(name, count) {
  const original = gunzipSync(readFileSync(join(source, name)));
  const dimensions = original[3];
  let itemBytes = 1;
  for (let d = 1; d < dimensions; d++) itemBytes *= original.readUInt32BE(4 + 4 * d);
  const header = 4 + 4 * dimensions;
  const short = Buffer.from(original.subarray(0, header + count * itemBytes));
  short.writeUInt32BE(count, 4);
  const packed = gzipSync(short, { level: 9 });
  writeFileSync(join(target, name), packed);
  console.log(`${name}: ${packed.length} bytes`);
  return short;
}
