/**
 * Dense 3x3 convolution as a product whose left factor, [pixels, 9·Cin], is gathered as it is
 * packed and never stored. Images are NHWC, weights [3, 3, Cin, Cout].
 *
 * One geometry serves both directions: output pixel (y, x) and tap (ky, kx) meet source pixel
 * ((y·stride + (ky-1)·dilation) / spread, …), where that is whole and inside. Forward has spread 1;
 * the input gradient has stride 1, spread = the convolution's stride, and turned taps.
 */

import { address, bytes, int } from "./command";
import { ACCUMULATE, interleave, multiplyPacked, multiplyTransposed, packPanel, ZERO } from "./tile";

/** Pixels of a weight gradient that are gathered at once. */
const DEPTH = 128;

/** Where the gather of the current task stands; set by `aim`, moved on by `nextPixel`. */
let source: usize = 0;
let sourceHeight: i32 = 0;
let sourceWidth: i32 = 0;
let channels: i32 = 0;
let zeros: usize = 0;
let stride: i32 = 1;
let dilation: i32 = 1;
let spread: i32 = 1;
let height: i32 = 0;
let width: i32 = 0;
let image: usize = 0;
let row: i32 = 0;
let column: i32 = 0;

/** Reads the geometry (10 arguments from `at`) and goes to output pixel `pixel`. */
function aim(command: usize, at: i32, pixel: i32): void {
  source = address(command, at);
  zeros = address(command, at + 1);
  sourceHeight = int(command, at + 2);
  sourceWidth = int(command, at + 3);
  channels = int(command, at + 4);
  height = int(command, at + 5);
  width = int(command, at + 6);
  stride = int(command, at + 7);
  dilation = int(command, at + 8);
  spread = int(command, at + 9);
  const inImage = pixel % (height * width);
  image = source + bytes(sourceHeight * sourceWidth * channels) * (pixel / (height * width));
  row = inImage / width;
  column = inImage % width;
}

function nextPixel(): void {
  if (++column < width) return;
  column = 0;
  if (++row < height) return;
  row = 0;
  image += bytes(sourceHeight * sourceWidth * channels);
}

/** Address of a source pixel given in spread coordinates, or of zeros. */
@inline
function pixelAt(base: usize, y: i32, x: i32): usize {
  const between = spread == 2 ? (y | x) & 1 : 0;
  const shift = spread - 1;
  const inside =
    between == 0 && <u32>y < <u32>(sourceHeight << shift) && <u32>x < <u32>(sourceWidth << shift);
  return inside ? base + bytes(((y >> shift) * sourceWidth + (x >> shift)) * channels) : zeros;
}

/** Packs the gathered rows of `rows` output pixels into groups of four: [9·Cin][4]. */
function packPixels(rows: i32, to: usize): void {
  const tap = bytes(4 * channels);
  for (let r = 0; r < rows; r += 4) {
    const i0 = image;
    const y0 = row * stride - dilation;
    const x0 = column * stride - dilation;
    if (r + 1 < rows) nextPixel();
    const i1 = image;
    const y1 = row * stride - dilation;
    const x1 = column * stride - dilation;
    if (r + 2 < rows) nextPixel();
    const i2 = image;
    const y2 = row * stride - dilation;
    const x2 = column * stride - dilation;
    if (r + 3 < rows) nextPixel();
    const i3 = image;
    const y3 = row * stride - dilation;
    const x3 = column * stride - dilation;
    nextPixel();
    const left = min(min(x0, x1), min(x2, x3));
    const right = max(max(x0, x1), max(x2, x3));
    if (dilation == 1 && spread == 1 && left >= 0 && right + 2 < sourceWidth) {
      // the three taps of a row are neighbours in memory
      for (let ky = 0; ky < 3; ky++) {
        const p0 = pixelAt(i0, y0 + ky, x0);
        const p1 = pixelAt(i1, y1 + ky, x1);
        const p2 = pixelAt(i2, y2 + ky, x2);
        const p3 = pixelAt(i3, y3 + ky, x3);
        interleave(p0, p1, p2, p3, 3 * channels, to, 16);
        to += 3 * tap;
      }
      continue;
    }
    for (let ky = 0; ky < 3 * dilation; ky += dilation) {
      for (let kx = 0; kx < 3 * dilation; kx += dilation) {
        const p0 = pixelAt(i0, y0 + ky, x0 + kx);
        const p1 = pixelAt(i1, y1 + ky, x1 + kx);
        const p2 = pixelAt(i2, y2 + ky, x2 + kx);
        const p3 = pixelAt(i3, y3 + ky, x3 + kx);
        interleave(p0, p1, p2, p3, channels, to, 16);
        to += tap;
      }
    }
  }
}

/**
 * Forward, and the input gradient with `packTurned` panels.
 * Arguments: panels, y, pixels (M), Cout, rows of a task, geometry (10).
 */
export function convolution(command: usize, task: i32, scratch: usize): void {
  const outputs = int(command, 3);
  const block = int(command, 4);
  const pixel = task * block;
  const rows = min(block, int(command, 2) - pixel);
  aim(command, 5, pixel);
  packPixels(rows, scratch);
  const y = address(command, 1) + bytes(pixel * outputs);
  multiplyPacked(scratch, rows, 9 * channels, address(command, 0), outputs, 0, y, bytes(outputs));
}

/**
 * Panels of the input gradient's weight [9·Cout, Cin], taps turned by 180°.
 * Arguments: w, panels, Cin, Cout; a task is a panel of eight input channels.
 */
export function packTurned(command: usize, task: i32): void {
  const inputs = int(command, 2);
  const outputs = int(command, 3);
  const first = task * 8;
  for (let tap = 0; tap < 9; tap++) {
    packPanel(
      address(command, 0) + bytes(((8 - tap) * inputs + first) * outputs),
      bytes(outputs),
      min(8, inputs - first),
      outputs,
      address(command, 1) + bytes((task * 9 + tap) * outputs * 8),
    );
  }
}

/**
 * dw = gathered(x)ᵀ·dy over one chunk of pixels and one tap (or all nine, for few channels).
 * Arguments: dy, dw, pixels (M), Cout, pixels of a chunk, tap groups (9 or 1), geometry (10).
 * Chunk c writes its part at dw + c·9·Cin·Cout.
 */
export function convolutionWeightGrad(command: usize, task: i32, scratch: usize): void {
  const outputs = int(command, 3);
  const chunkRows = int(command, 4);
  const groups = int(command, 5);
  const chunk = task / groups;
  const group = task % groups;
  const taps = 9 / groups;
  const pixel = chunk * chunkRows;
  const rows = min(chunkRows, int(command, 2) - pixel);
  aim(command, 6, pixel);
  const k = taps * channels;
  const dy = address(command, 0) + bytes(pixel * outputs);
  const dw = address(command, 1) + bytes((chunk * 9 + group) * channels * outputs);
  for (let r = 0; r < rows; r += DEPTH) {
    const depth = min(DEPTH, rows - r);
    let to = scratch;
    for (let i = 0; i < depth; i++) {
      const y = row * stride - dilation;
      const x = column * stride - dilation;
      for (let tap = group * taps; tap < (group + 1) * taps; tap++) {
        const from = pixelAt(image, y + (tap / 3) * dilation, x + (tap % 3) * dilation);
        // writes up to three floats too many, which the next copy covers
        for (let c = 0; c < channels; c += 4) v128.store(to + bytes(c), v128.load(from + bytes(c)));
        to += bytes(channels);
      }
      nextPixel();
    }
    multiplyTransposed(
      scratch,
      bytes(k),
      k,
      dy + bytes(r * outputs),
      bytes(outputs),
      outputs,
      depth,
      dw,
      bytes(outputs),
      r == 0 ? ZERO : ACCUMULATE,
    );
  }
}
