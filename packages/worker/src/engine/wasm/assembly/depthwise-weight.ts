/** Weight gradient of depthwise 3x3 convolution. Images are NHWC, weights [3, 3, C]. */

import { address, bytes, int } from "./command";
import { rowAt } from "./depthwise";
import { fma, put } from "./vector";

/**
 * dw [3, 3, C] over one chunk of output rows; chunk k writes its part at dw + k·9·C.
 * Arguments: x, dy, dw, zeros, B, H, W, C, H', W', stride, dilation, rows of a chunk, rows of a
 * band (as many as stay in the first cache while all channels pass over them).
 */
export function depthwiseWeightGrad(command: usize, task: i32): void {
  const x = address(command, 0);
  const zeros = address(command, 3);
  const height = int(command, 5);
  const width = int(command, 6);
  const c = int(command, 7);
  const outHeight = int(command, 8);
  const outWidth = int(command, 9);
  const stride = int(command, 10);
  const dilation = int(command, 11);
  const chunk = int(command, 12);
  const band = int(command, 13);
  const pixel = bytes(c);
  const rowBytes = bytes(width * c);
  const step = <usize>stride * pixel;
  const reach = <usize>dilation * pixel;
  const neighbours = stride == 1 && dilation == 1;
  const twoPixels = 2 * pixel;
  const leftEnd = min(outWidth, (dilation + stride - 1) / stride);
  const rightStart = max(leftEnd, (width - 1 - dilation) / stride + 1);
  const dw = address(command, 2) + bytes(task * 9 * c);
  const end = min(int(command, 4) * outHeight, (task + 1) * chunk);
  for (let start = task * chunk; start < end; start += band) {
    const bandEnd = min(end, start + band);
    const initial = start == task * chunk;
    for (let i = 0; i < c; i += 4) {
      const at = bytes(i);
      const count = c - i;
      const out = dw + at;
      let s0 = f32x4.splat(0);
      let s1 = s0;
      let s2 = s0;
      let s3 = s0;
      let s4 = s0;
      let s5 = s0;
      let s6 = s0;
      let s7 = s0;
      let s8 = s0;
      if (!initial) {
        s0 = v128.load(out);
        s1 = v128.load(out + pixel);
        s2 = v128.load(out + 2 * pixel);
        s3 = v128.load(out + 3 * pixel);
        s4 = v128.load(out + 4 * pixel);
        s5 = v128.load(out + 5 * pixel);
        s6 = v128.load(out + 6 * pixel);
        s7 = v128.load(out + 7 * pixel);
        s8 = v128.load(out + 8 * pixel);
      }
      for (let r = start; r < bandEnd; r++) {
        const image = x + bytes((r / outHeight) * height * width * c);
        const top = (r % outHeight) * stride - dilation;
        let p0 = rowAt(image, top, height, rowBytes, zeros) + at;
        let p1 = rowAt(image, top + dilation, height, rowBytes, zeros) + at;
        let p2 = rowAt(image, top + 2 * dilation, height, rowBytes, zeros) + at;
        let from = address(command, 1) + bytes(r * outWidth * c) + at;
        for (let ox = 0; ox < outWidth; ox++) {
          if (ox >= leftEnd && ox < rightStart) {
            if (neighbours) {
              for (; ox + 1 < rightStart; ox += 2) {
                const d = v128.load(from);
                const e = v128.load(from + pixel);
                let x1 = v128.load(p0);
                let x2 = v128.load(p0 + pixel);
                s0 = fma(e, x1, fma(d, v128.load(p0 - pixel), s0));
                s1 = fma(e, x2, fma(d, x1, s1));
                s2 = fma(e, v128.load(p0 + twoPixels), fma(d, x2, s2));
                x1 = v128.load(p1);
                x2 = v128.load(p1 + pixel);
                s3 = fma(e, x1, fma(d, v128.load(p1 - pixel), s3));
                s4 = fma(e, x2, fma(d, x1, s4));
                s5 = fma(e, v128.load(p1 + twoPixels), fma(d, x2, s5));
                x1 = v128.load(p2);
                x2 = v128.load(p2 + pixel);
                s6 = fma(e, x1, fma(d, v128.load(p2 - pixel), s6));
                s7 = fma(e, x2, fma(d, x1, s7));
                s8 = fma(e, v128.load(p2 + twoPixels), fma(d, x2, s8));
                from += twoPixels;
                p0 += twoPixels;
                p1 += twoPixels;
                p2 += twoPixels;
              }
            }
            for (; ox < rightStart; ox++) {
              const d = v128.load(from);
              s0 = fma(d, v128.load(p0 - reach), s0);
              s1 = fma(d, v128.load(p0), s1);
              s2 = fma(d, v128.load(p0 + reach), s2);
              s3 = fma(d, v128.load(p1 - reach), s3);
              s4 = fma(d, v128.load(p1), s4);
              s5 = fma(d, v128.load(p1 + reach), s5);
              s6 = fma(d, v128.load(p2 - reach), s6);
              s7 = fma(d, v128.load(p2), s7);
              s8 = fma(d, v128.load(p2 + reach), s8);
              from += pixel;
              p0 += step;
              p1 += step;
              p2 += step;
            }
            if (ox >= outWidth) break;
          }
          const d = v128.load(from);
          s1 = fma(d, v128.load(p0), s1);
          s4 = fma(d, v128.load(p1), s4);
          s7 = fma(d, v128.load(p2), s7);
          if (ox * stride >= dilation) {
            s0 = fma(d, v128.load(p0 - reach), s0);
            s3 = fma(d, v128.load(p1 - reach), s3);
            s6 = fma(d, v128.load(p2 - reach), s6);
          }
          if (ox * stride + dilation < width) {
            s2 = fma(d, v128.load(p0 + reach), s2);
            s5 = fma(d, v128.load(p1 + reach), s5);
            s8 = fma(d, v128.load(p2 + reach), s8);
          }
          from += pixel;
          p0 += step;
          p1 += step;
          p2 += step;
        }
      }
      put(out, s0, count);
      put(out + pixel, s1, count);
      put(out + 2 * pixel, s2, count);
      put(out + 3 * pixel, s3, count);
      put(out + 4 * pixel, s4, count);
      put(out + 5 * pixel, s5, count);
      put(out + 6 * pixel, s6, count);
      put(out + 7 * pixel, s7, count);
      put(out + 8 * pixel, s8, count);
    }
  }
}
