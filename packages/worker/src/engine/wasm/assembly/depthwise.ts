/** Depthwise 3x3 convolution and the gradient of its input. Images are NHWC, weights [3, 3, C]. */

import { address, bytes, int } from "./command";
import { fma, put } from "./vector";

/** Row `y` of an image, or a row of zeros where it lies outside. */
@inline
export function rowAt(image: usize, y: i32, height: i32, rowBytes: usize, zeros: usize): usize {
  return <u32>y < <u32>height ? image + <usize>y * rowBytes : zeros;
}

/**
 * Forward; with `turned` taps also the input gradient at stride 1.
 * Arguments: x, w, y, zeros, B, H, W, C, H', W', stride, dilation, turned, rows of a task.
 */
export function depthwise(command: usize, task: i32): void {
  const x = address(command, 0);
  const w = address(command, 1);
  const zeros = address(command, 3);
  const height = int(command, 5);
  const width = int(command, 6);
  const c = int(command, 7);
  const outHeight = int(command, 8);
  const outWidth = int(command, 9);
  const stride = int(command, 10);
  const dilation = int(command, 11);
  const turned = int(command, 12);
  const block = int(command, 13);
  const end = min(int(command, 4) * outHeight, (task + 1) * block);
  const pixel = bytes(c);
  const rowBytes = bytes(width * c);
  const step = <usize>stride * pixel;
  const reach = <usize>dilation * pixel;
  const neighbours = stride == 1 && dilation == 1;
  const twoPixels = 2 * pixel;
  const leftEnd = min(outWidth, (dilation + stride - 1) / stride);
  const rightStart = max(leftEnd, (width - 1 - dilation) / stride + 1);
  for (let r = task * block; r < end; r++) {
    const image = x + bytes((r / outHeight) * height * width * c);
    const top = (r % outHeight) * stride - dilation;
    const row0 = rowAt(image, top, height, rowBytes, zeros);
    const row1 = rowAt(image, top + dilation, height, rowBytes, zeros);
    const row2 = rowAt(image, top + 2 * dilation, height, rowBytes, zeros);
    const out = address(command, 2) + bytes(r * outWidth * c);
    for (let i = 0; i < c; i += 4) {
      const at = bytes(i);
      const count = c - i;
      const from = w + at + (turned ? 8 * pixel : <usize>0);
      const next: usize = turned ? <usize>0 - pixel : pixel;
      const w0 = v128.load(from);
      const w1 = v128.load(from + next);
      const w2 = v128.load(from + 2 * next);
      const w3 = v128.load(from + 3 * next);
      const w4 = v128.load(from + 4 * next);
      const w5 = v128.load(from + 5 * next);
      const w6 = v128.load(from + 6 * next);
      const w7 = v128.load(from + 7 * next);
      const w8 = v128.load(from + 8 * next);
      let to = out + at;
      // addresses of the middle tap's column
      let p0 = row0 + at;
      let p1 = row1 + at;
      let p2 = row2 + at;
      for (let ox = 0; ox < outWidth; ox++) {
        if (ox >= leftEnd && ox < rightStart) {
          if (neighbours) {
            // two outputs at once share two columns of three
            for (; ox + 1 < rightStart; ox += 2) {
              let sum = f32x4.mul(w0, v128.load(p0 - pixel));
              let x = v128.load(p0);
              let other = f32x4.mul(w0, x);
              sum = fma(w1, x, sum);
              x = v128.load(p0 + pixel);
              sum = fma(w2, x, sum);
              other = fma(w1, x, other);
              other = fma(w2, v128.load(p0 + twoPixels), other);
              sum = fma(w3, v128.load(p1 - pixel), sum);
              x = v128.load(p1);
              sum = fma(w4, x, sum);
              other = fma(w3, x, other);
              x = v128.load(p1 + pixel);
              sum = fma(w5, x, sum);
              other = fma(w4, x, other);
              other = fma(w5, v128.load(p1 + twoPixels), other);
              sum = fma(w6, v128.load(p2 - pixel), sum);
              x = v128.load(p2);
              sum = fma(w7, x, sum);
              other = fma(w6, x, other);
              x = v128.load(p2 + pixel);
              sum = fma(w8, x, sum);
              other = fma(w7, x, other);
              other = fma(w8, v128.load(p2 + twoPixels), other);
              put(to, sum, count);
              put(to + pixel, other, count);
              to += twoPixels;
              p0 += twoPixels;
              p1 += twoPixels;
              p2 += twoPixels;
            }
          }
          for (; ox < rightStart; ox++) {
            let sum = f32x4.mul(w0, v128.load(p0 - reach));
            sum = fma(w1, v128.load(p0), sum);
            sum = fma(w2, v128.load(p0 + reach), sum);
            sum = fma(w3, v128.load(p1 - reach), sum);
            sum = fma(w4, v128.load(p1), sum);
            sum = fma(w5, v128.load(p1 + reach), sum);
            sum = fma(w6, v128.load(p2 - reach), sum);
            sum = fma(w7, v128.load(p2), sum);
            sum = fma(w8, v128.load(p2 + reach), sum);
            put(to, sum, count);
            to += pixel;
            p0 += step;
            p1 += step;
            p2 += step;
          }
          if (ox >= outWidth) break;
        }
        let sum = f32x4.mul(w1, v128.load(p0));
        sum = fma(w4, v128.load(p1), sum);
        sum = fma(w7, v128.load(p2), sum);
        if (ox * stride >= dilation) {
          sum = fma(w0, v128.load(p0 - reach), sum);
          sum = fma(w3, v128.load(p1 - reach), sum);
          sum = fma(w6, v128.load(p2 - reach), sum);
        }
        if (ox * stride + dilation < width) {
          sum = fma(w2, v128.load(p0 + reach), sum);
          sum = fma(w5, v128.load(p1 + reach), sum);
          sum = fma(w8, v128.load(p2 + reach), sum);
        }
        put(to, sum, count);
        to += pixel;
        p0 += step;
        p1 += step;
        p2 += step;
      }
    }
  }
}

/**
 * Input gradient at stride 2: each pixel of dx gathers the one to nine outputs that read it.
 * Arguments: dy, w, dx, -, B, H, W, C, H', W', stride, dilation, -, rows of a task.
 */
export function depthwiseSpread(command: usize, task: i32, scratch: usize): void {
  const dy = address(command, 0);
  const w = address(command, 1);
  const height = int(command, 5);
  const width = int(command, 6);
  const c = int(command, 7);
  const outHeight = int(command, 8);
  const outWidth = int(command, 9);
  const dilation = int(command, 11);
  const block = int(command, 13);
  const end = min(int(command, 4) * height, (task + 1) * block);
  for (let r = task * block; r < end; r++) {
    const image = dy + bytes((r / height) * outHeight * outWidth * c);
    const y = r % height;
    let to = address(command, 2) + bytes(r * width * c);
    for (let x = 0; x < width; x++) {
      // the taps that meet a whole output pixel: pairs (dy, w) of addresses
      let pairs = scratch;
      for (let ky = 0; ky < 3; ky++) {
        const oy = y + (1 - ky) * dilation;
        if (oy & 1 || <u32>(oy >> 1) >= <u32>outHeight) continue;
        for (let kx = 0; kx < 3; kx++) {
          const ox = x + (1 - kx) * dilation;
          if (ox & 1 || <u32>(ox >> 1) >= <u32>outWidth) continue;
          store<usize>(pairs, image + bytes(((oy >> 1) * outWidth + (ox >> 1)) * c));
          store<usize>(pairs, w + bytes((ky * 3 + kx) * c), sizeof<usize>());
          pairs += 2 * sizeof<usize>();
        }
      }
      for (let i = 0; i < c; i += 4) {
        const at = bytes(i);
        let sum = f32x4.splat(0);
        for (let pair = scratch; pair < pairs; pair += 2 * sizeof<usize>()) {
          const d = v128.load(load<usize>(pair) + at);
          sum = fma(d, v128.load(load<usize>(pair, sizeof<usize>()) + at), sum);
        }
        put(to + at, sum, c - i);
      }
      to += bytes(c);
    }
  }
}
