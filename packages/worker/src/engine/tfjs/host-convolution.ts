/**
 * Filter gradients of 3x3 convolutions as plain loops: the WASM backend has no kernel for them.
 * Both gather one channel of one image into a padded plane first, where taps are plain offsets.
 */

import { hostKernel } from "./host-kernels.ts";

export interface ConvShape {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly stride: number;
  readonly dilation: number;
}

/** Column matrix of a 3x3 convolution, transposed: [B, H, W, C] → [9·C, B·H'·W']. */
export const patches = hostKernel<ConvShape>("Patches", ([x], [out], s) => {
  const { channels, stride, outHeight, outWidth } = s;
  const { cells, rowCells, taps, load } = createPlane(s);
  const area = outHeight * outWidth;
  for (let b = 0; b < s.batch; b++)
    for (let c = 0; c < channels; c++) {
      load(x, b, c);
      for (let tap = 0; tap < 9; tap++) {
        let to = ((tap * channels + c) * s.batch + b) * area;
        for (let oy = 0; oy < outHeight; oy++) {
          let from = taps[tap] + oy * stride * rowCells;
          for (let ox = 0; ox < outWidth; ox++, from += stride) out[to++] = cells[from];
        }
      }
    }
});

/** Filter gradient of a depthwise 3x3 convolution: x [B, H, W, C], dy [B, H', W', C] → [3, 3, C]. */
export const depthwiseFilterGrad = hostKernel<ConvShape>(
  "DepthwiseFilterGrad",
  ([x, dy], [out], s) => {
    const { channels, stride, outHeight, outWidth } = s;
    const { cells, rowCells, taps, load } = createPlane(s);
    const [t0, t1, t2, t3, t4, t5, t6, t7, t8] = taps;
    const sums = new Float64Array(9 * channels);
    for (let b = 0; b < s.batch; b++)
      for (let c = 0; c < channels; c++) {
        load(x, b, c);
        let [s0, s1, s2, s3, s4, s5, s6, s7, s8] = [0, 0, 0, 0, 0, 0, 0, 0, 0];
        let at = b * outHeight * outWidth * channels + c;
        for (let oy = 0; oy < outHeight; oy++) {
          let from = oy * stride * rowCells;
          for (let ox = 0; ox < outWidth; ox++, from += stride, at += channels) {
            const g = dy[at];
            s0 += g * cells[from + t0];
            s1 += g * cells[from + t1];
            s2 += g * cells[from + t2];
            s3 += g * cells[from + t3];
            s4 += g * cells[from + t4];
            s5 += g * cells[from + t5];
            s6 += g * cells[from + t6];
            s7 += g * cells[from + t7];
            s8 += g * cells[from + t8];
          }
        }
        [s0, s1, s2, s3, s4, s5, s6, s7, s8].forEach((sum, tap) => {
          sums[tap * channels + c] += sum;
        });
      }
    out.set(sums);
  },
);

/** One channel of one image with a border of `dilation` zeros. */
function createPlane({ height, width, channels, dilation }: ConvShape) {
  // An odd extent under stride 2 may be read one position past the border.
  const rowCells = width + 2 * dilation + 1;
  const cells = new Float32Array((height + 2 * dilation + 1) * rowCells);
  const load = (x: Float32Array, b: number, c: number) => {
    let from = b * height * width * channels + c;
    for (let y = 0; y < height; y++) {
      let to = (y + dilation) * rowCells + dilation;
      for (let at = 0; at < width; at++, from += channels) cells[to++] = x[from];
    }
  };
  const taps = Array.from(
    { length: 9 },
    (_, tap) => Math.floor(tap / 3) * dilation * rowCells + (tap % 3) * dilation,
  );
  return { cells, rowCells, taps, load };
}
