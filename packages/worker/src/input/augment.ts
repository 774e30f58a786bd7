/**
 * Random-resized-crop, flip and bilinear sampling (SPEC section 3, DESIGN section 5), pure and equal
 * to the last bit on every machine: only + − × ÷ √, floor and rounding, in float64, rounded once to
 * float32 at the end. A value is a = p/255 first, then a + (b − a)·f along x, then along y.
 *
 * Random numbers are `u(seed, index)` of `@swarmvit/shared/random`. For the sample at position p of
 * its unit, try t of a crop takes draws of `siteSeed(unitSeed, "crop")` at index 40·p + 4·t + 0 (area),
 * + 1 (ratio), + 2 (top), + 3 (left); the flip takes the one of `siteSeed(unitSeed, "flip")` at p.
 */

import type { AugmentConfig } from "@swarmvit/shared/protocol";
import { below, siteSeed, u24, uniform } from "@swarmvit/shared/random";
import type { Pixels } from "./decode.ts";

/** Tries before the crop falls back to the centre, as in torchvision. */
const TRIES = 10;
const DRAWS = 4;
/** Half of 2^24: the flip's probability. */
const FLIP_BELOW = 1 << 23;

/** A rectangle of an image, in whole pixels. */
export interface CropBox {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** What an output shows of its source: a rectangle that may begin and end between pixels. */
export interface Region extends CropBox {
  readonly flip: boolean;
  /** Where sampling clamps: at the rectangle's edge (crop, then resize) or the image's (resize, then crop). */
  readonly edge: "region" | "image";
}

/**
 * The crop box of the sample at `position` of a unit, inside an image of `height` × `width`.
 *
 * The area is uniform in cropScale. Torch draws the ratio r log-uniformly in [lo, hi]; here, without
 * a logarithm, m = √(lo·hi), k = √(hi/lo), t = (2u − 1)·(k − 1)/(k + 1), r = m·(1 + t)/(1 − t): the same end points
 * and middle, symmetric under width ↔ height, and within 0.1 % of log-uniform for 3/4 to 4/3. A box that
 * does not fit is drawn again; after ten tries it is the largest centred box with a permitted ratio.
 */
export function cropBox(
  height: number,
  width: number,
  unitSeed: number,
  position: number,
  { cropScale, cropRatio }: Pick<AugmentConfig, "cropScale" | "cropRatio">,
): CropBox {
  const seed = siteSeed(unitSeed, "crop");
  const [smallest, largest] = cropScale;
  const [lowest, highest] = cropRatio;
  const middle = Math.sqrt(lowest * highest);
  const spread = Math.sqrt(highest / lowest);
  const slope = (spread - 1) / (spread + 1);
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const index = DRAWS * (TRIES * position + attempt);
    const area = height * width * (smallest + (largest - smallest) * uniform(seed, index));
    const t = slope * (2 * uniform(seed, index + 1) - 1);
    const ratio = (middle * (1 + t)) / (1 - t); // width over height
    const w = Math.round(Math.sqrt(area * ratio));
    const h = Math.round(Math.sqrt(area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return {
      top: below(height - h + 1, seed, index + 2),
      left: below(width - w + 1, seed, index + 3),
      height: h,
      width: w,
    };
  }
  let w = width;
  let h = height;
  if (width < lowest * height) h = Math.min(height, Math.max(1, Math.round(width / lowest)));
  else if (width > highest * height) w = Math.min(width, Math.max(1, Math.round(height * highest)));
  return { top: (height - h) >> 1, left: (width - w) >> 1, height: h, width: w };
}

/** Whether the sample at `position` of a unit is mirrored: one in two. */
export function isFlipped(unitSeed: number, position: number): boolean {
  return u24(siteSeed(unitSeed, "flip"), position) < FLIP_BELOW;
}

/** What a training sample shows: its crop, mirrored or not. */
export function trainingRegion(
  image: Pick<Pixels, "height" | "width">,
  unitSeed: number,
  position: number,
  config: AugmentConfig,
): Region {
  const box = cropBox(image.height, image.width, unitSeed, position, config);
  return { ...box, flip: config.flip && isFlipped(unitSeed, position), edge: "region" };
}

/**
 * What an evaluation sample shows at an output of `height` × `width`. With `evalResize` 1 it is the whole
 * image, whatever its ratio. With 288/256 (the paper's) the image is resized so that it just covers
 * round(height·evalResize) × round(width·evalResize), and the centre is cropped; both in one resampling,
 * so the box is in parts of source pixels.
 */
export function evaluationRegion(
  image: Pick<Pixels, "height" | "width">,
  height: number,
  width: number,
  evalResize: number,
): Region {
  if (evalResize === 1) {
    return {
      top: 0,
      left: 0,
      height: image.height,
      width: image.width,
      flip: false,
      edge: "image",
    };
  }
  const coverHeight = Math.round(height * evalResize);
  const coverWidth = Math.round(width * evalResize);
  // Which side decides, compared without a division so that equal ratios stay equal.
  const byHeight = coverHeight * image.width >= coverWidth * image.height;
  const resizedHeight = byHeight
    ? coverHeight
    : Math.floor((coverWidth * image.height) / image.width);
  const resizedWidth = byHeight
    ? Math.floor((coverHeight * image.width) / image.height)
    : coverWidth;
  const scaleY = image.height / resizedHeight;
  const scaleX = image.width / resizedWidth;
  return {
    top: Math.floor((resizedHeight - height) / 2) * scaleY,
    left: Math.floor((resizedWidth - width) / 2) * scaleX,
    height: height * scaleY,
    width: width * scaleX,
    flip: false,
    edge: "image",
  };
}

/**
 * Samples a region of an image to `height` × `width` and writes [height, width, 3] values in [0, 1] at
 * `offset` of `out`. Bilinear with half-pixel centres and no antialiasing, like the engine's
 * `resize`: strongly shrunk images alias. `offset` counts floats.
 */
export function sampleRegion(
  image: Pixels,
  region: Region,
  height: number,
  width: number,
  out: Float32Array,
  offset = 0,
): void {
  const rows =
    region.edge === "region"
      ? axis(region.top, region.height, height, region.top, region.top + region.height - 1)
      : axis(region.top, region.height, height, 0, image.height - 1);
  const columns =
    region.edge === "region"
      ? axis(region.left, region.width, width, region.left, region.left + region.width - 1)
      : axis(region.left, region.width, width, 0, image.width - 1);
  if (region.flip) mirror(columns);
  // Each source row is interpolated along x once and kept while output rows lie beside it.
  let above = { row: -1, line: new Float64Array(3 * width) };
  let beneath = { row: -1, line: new Float64Array(3 * width) };
  let at = offset;
  for (let y = 0; y < height; y++) {
    const low = rows.low[y];
    const high = rows.high[y];
    if (above.row !== low && beneath.row === low) [above, beneath] = [beneath, above];
    if (above.row !== low) interpolateRow(image, low, columns, above.line);
    above.row = low;
    if (beneath.row !== high) interpolateRow(image, high, columns, beneath.line);
    beneath.row = high;
    const fraction = rows.fraction[y];
    const upper = above.line;
    const lower = beneath.line;
    for (let i = 0; i < upper.length; i++) {
      out[at++] = upper[i] + (lower[i] - upper[i]) * fraction;
    }
  }
}

/** byte / 255, float64. */
const UNIT = Float64Array.from({ length: 256 }, (_, byte) => byte / 255);

function interpolateRow(image: Pixels, row: number, columns: Axis, line: Float64Array): void {
  const { low, high, fraction } = columns;
  const { rgb } = image;
  const start = 3 * row * image.width;
  for (let x = 0, to = 0; x < low.length; x++) {
    const left = start + 3 * low[x];
    const right = start + 3 * high[x];
    const f = fraction[x];
    for (let c = 0; c < 3; c++) {
      const a = UNIT[rgb[left + c]];
      line[to++] = a + (UNIT[rgb[right + c]] - a) * f;
    }
  }
}

interface Axis {
  /** Source pixel at or before each output pixel's centre, the next one, and how far between. */
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly fraction: Float64Array;
}

/** Where `outputs` pixels spread over [start, start + extent) lie between source pixels first … last. */
function axis(start: number, extent: number, outputs: number, first: number, last: number): Axis {
  const low = new Int32Array(outputs);
  const high = new Int32Array(outputs);
  const fraction = new Float64Array(outputs);
  for (let i = 0; i < outputs; i++) {
    const centre = start + ((i + 0.5) * extent) / outputs - 0.5;
    const clamped = Math.min(Math.max(centre, first), last);
    low[i] = Math.floor(clamped);
    high[i] = Math.min(low[i] + 1, last);
    fraction[i] = clamped - low[i];
  }
  return { low, high, fraction };
}

function mirror({ low, high, fraction }: Axis): void {
  low.reverse();
  high.reverse();
  fraction.reverse();
}
