/** Bilinear resize of images and mean over positions, with their gradients. A task is an image. */

import { address, bytes, int } from "./command";
import { fma, put } from "./vector";

/** Position of output `o` among `n` inputs: half-pixel centres, held at the edge. */
@inline
function position(o: i32, n: i32, outputs: i32): f64 {
  return max(0, ((<f64>o + 0.5) * <f64>n) / <f64>outputs - 0.5);
}

/** Arguments: x, y, H, W, C, H', W'. */
export function resize(command: usize, task: i32): void {
  const height = int(command, 2);
  const width = int(command, 3);
  const c = int(command, 4);
  const outHeight = int(command, 5);
  const outWidth = int(command, 6);
  const x = address(command, 0) + bytes(task * height * width * c);
  let y = address(command, 1) + bytes(task * outHeight * outWidth * c);
  for (let oy = 0; oy < outHeight; oy++) {
    const py = position(oy, height, outHeight);
    const y0 = <i32>py;
    const y1 = min(y0 + 1, height - 1);
    const down = f32x4.splat(<f32>(py - <f64>y0));
    for (let ox = 0; ox < outWidth; ox++) {
      const px = position(ox, width, outWidth);
      const x0 = <i32>px;
      const x1 = min(x0 + 1, width - 1);
      const right = f32x4.splat(<f32>(px - <f64>x0));
      const p00 = x + bytes((y0 * width + x0) * c);
      const p01 = x + bytes((y0 * width + x1) * c);
      const p10 = x + bytes((y1 * width + x0) * c);
      const p11 = x + bytes((y1 * width + x1) * c);
      for (let i = 0; i < c; i += 4) {
        const at = bytes(i);
        const a = v128.load(p00 + at);
        const b = v128.load(p10 + at);
        const top = fma(right, f32x4.sub(v128.load(p01 + at), a), a);
        const bottom = fma(right, f32x4.sub(v128.load(p11 + at), b), b);
        put(y + at, fma(down, f32x4.sub(bottom, top), top), c - i);
      }
      y += bytes(c);
    }
  }
}

/** Scatters dy over the four pixels each output was read from. Arguments: dy, dx, H, W, C, H', W'. */
export function resizeGrad(command: usize, task: i32): void {
  const height = int(command, 2);
  const width = int(command, 3);
  const c = int(command, 4);
  const outHeight = int(command, 5);
  const outWidth = int(command, 6);
  let dy = address(command, 0) + bytes(task * outHeight * outWidth * c);
  const dx = address(command, 1) + bytes(task * height * width * c);
  memory.fill(dx, 0, bytes(height * width * c));
  for (let oy = 0; oy < outHeight; oy++) {
    const py = position(oy, height, outHeight);
    const y0 = <i32>py;
    const y1 = min(y0 + 1, height - 1);
    const down = <f32>(py - <f64>y0);
    for (let ox = 0; ox < outWidth; ox++) {
      const px = position(ox, width, outWidth);
      const x0 = <i32>px;
      const x1 = min(x0 + 1, width - 1);
      const right = <f32>(px - <f64>x0);
      scatter(dx + bytes((y0 * width + x0) * c), dy, (1 - down) * (1 - right), c);
      scatter(dx + bytes((y0 * width + x1) * c), dy, (1 - down) * right, c);
      scatter(dx + bytes((y1 * width + x0) * c), dy, down * (1 - right), c);
      scatter(dx + bytes((y1 * width + x1) * c), dy, down * right, c);
      dy += bytes(c);
    }
  }
}

function scatter(to: usize, from: usize, weight: f32, c: i32): void {
  const w = f32x4.splat(weight);
  for (let i = 0; i < c; i += 4) {
    const at = bytes(i);
    put(to + at, fma(w, v128.load(from + at), v128.load(to + at)), c - i);
  }
}

/** Arguments: x, y, H·W, C. */
export function meanPool(command: usize, task: i32): void {
  const n = int(command, 2);
  const c = int(command, 3);
  const share = f32x4.splat(<f32>(1.0 / <f64>n));
  const x = address(command, 0) + bytes(task * n * c);
  const y = address(command, 1) + bytes(task * c);
  for (let i = 0; i < c; i += 4) {
    let sum = f32x4.splat(0);
    let p = x + bytes(i);
    for (let j = 0; j < n; j++) {
      sum = f32x4.add(sum, v128.load(p));
      p += bytes(c);
    }
    put(y + bytes(i), f32x4.mul(sum, share), c - i);
  }
}

/** Arguments: dy, dx, H·W, C. */
export function meanPoolGrad(command: usize, task: i32): void {
  const n = int(command, 2);
  const c = int(command, 3);
  const share = f32x4.splat(<f32>(1.0 / <f64>n));
  const dy = address(command, 0) + bytes(task * c);
  const dx = address(command, 1) + bytes(task * n * c);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < c; i += 4) {
      const value = f32x4.mul(v128.load(dy + bytes(i)), share);
      put(dx + bytes(j * c + i), value, c - i);
    }
  }
}
