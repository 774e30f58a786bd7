/** Decodes with sharp, in a volunteer without a browser. */

import sharp from "sharp";
import type { Decode } from "./decode.ts";

/**
 * The Node decoder. Beyond what shards hold it takes whatever sharp reads, so that `predict` can use
 * it: upright by EXIF, transparency laid on white, 16 bits cut to 8. Colour profiles are ignored.
 */
export const decodeInNode: Decode = async (bytes) => {
  if (bytes.length === 0) throw new Error("expected an image, got no bytes");
  const { data, info } = await sharp(bytes, { failOn: "error", ignoreIcc: true })
    .autoOrient()
    .flatten({ background: "white" })
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (channels === 3) return { width, height, rgb: data };
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    // One channel is grey; two are grey and an opaque alpha.
    const grey = channels < 3;
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = data[channels * i + (grey ? 0 : c)];
  }
  return { width, height, rgb };
};
