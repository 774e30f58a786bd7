/**
 * Decides what of an image goes into a shard: its own bytes where a browser and sharp decode them to
 * the same pixels, else a PNG of the pixels. Embedded colour profiles are ignored, as the field's
 * training pipelines do, except for CMYK, which has no RGB without one.
 */

import sharp from "sharp";
import type { EncodedImage } from "./dataset.ts";
import { decodePng, encodePng } from "./png.ts";

/** What may be served as it is: formats that every browser decodes to one opaque 8-bit frame. */
const SERVED_FORMATS = ["jpeg", "png", "webp"];
const SERVED_SPACES = ["srgb", "b-w"];
/** "error" refuses truncated and damaged data, and lets harmless warnings of old encoders pass. */
const OPTIONS = { failOn: "error", ignoreIcc: true } as const;

/** An image that a shard can hold. */
export interface NormalisedImage {
  readonly bytes: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/**
 * Decodes an image fully and returns bytes for a shard. Rotated by EXIF, transparent (laid on
 * white), 16-bit, CMYK, animated (first frame) or in a format browsers lack, it becomes a PNG; with
 * `maxSide` also where its longer side is greater, scaled down to it. Throws where it cannot be decoded.
 */
export async function normaliseImage(
  image: EncodedImage,
  maxSide = Number.POSITIVE_INFINITY,
): Promise<NormalisedImage> {
  if (image.grey && Math.max(image.grey.width, image.grey.height) <= maxSide) {
    // Made by our encoder, so it is decoded by our decoder: a twentieth of what sharp takes.
    const decoded = decodePng(image.bytes);
    if (Buffer.compare(decoded.pixels, image.grey.pixels) !== 0) {
      throw new Error("its PNG does not decode to its pixels");
    }
    return { bytes: image.bytes, width: decoded.width, height: decoded.height };
  }
  const { bytes } = image;
  if (bytes.length === 0) throw new Error("the file is empty");
  const meta = await sharp(bytes, OPTIONS).metadata();
  const shrinks = Math.max(meta.width, meta.height) > maxSide;
  const served =
    SERVED_FORMATS.includes(meta.format) &&
    SERVED_SPACES.includes(meta.space) &&
    meta.depth === "uchar" &&
    !meta.hasAlpha &&
    (meta.orientation ?? 1) === 1 &&
    (meta.pages ?? 1) === 1;
  if (served && !shrinks) {
    const { info } = await sharp(bytes, OPTIONS).raw().toBuffer({ resolveWithObject: true });
    return { bytes, width: info.width, height: info.height };
  }
  let pipeline = sharp(bytes, { ...OPTIONS, ignoreIcc: meta.space !== "cmyk" })
    .autoOrient()
    .flatten({ background: "white" });
  if (shrinks) {
    pipeline = pipeline.resize(maxSide, maxSide, { fit: "inside", withoutEnlargement: true });
  }
  const { data, info } = await pipeline
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (channels !== 1 && channels !== 3) throw new Error(`it has ${channels} channels`);
  return { bytes: encodePng(data, width, height, channels), width, height };
}
