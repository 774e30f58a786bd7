/** Copies that change only places: patches, channels side by side. */

import { address, bytes, int } from "./command";
import { put } from "./vector";

@inline
function copyFloats(to: usize, from: usize, count: i32): void {
  for (let i = 0; i < count; i += 4) put(to + bytes(i), v128.load(from + bytes(i)), count - i);
}

/**
 * [B, H, W, C] → [4B, (H/2)(W/2), C], or back where `inverse`.
 * Arguments: from, to, H, W, C, inverse, rows of a task; R = B·H image rows.
 */
export function unfold(command: usize, task: i32): void {
  const height = int(command, 2);
  const width = int(command, 3);
  const c = int(command, 4);
  const inverse = int(command, 5);
  const block = int(command, 6);
  const end = min(int(command, 7), (task + 1) * block);
  const halfWidth = width >> 1;
  const count = (height >> 1) * halfWidth;
  for (let r = task * block; r < end; r++) {
    const y = r % height;
    const sequence = (r / height) * 4 + (y & 1) * 2;
    for (let x = 0; x < width; x++) {
      const image = bytes((r * width + x) * c);
      const token = (sequence + (x & 1)) * count + (y >> 1) * halfWidth + (x >> 1);
      const patch = bytes(token * c);
      if (inverse) copyFloats(address(command, 1) + image, address(command, 0) + patch, c);
      else copyFloats(address(command, 1) + patch, address(command, 0) + image, c);
    }
  }
}

/** y[r] = a[r] then b[r]. Arguments: a, b, y, R, Ca, Cb, rows of a task. */
export function concat(command: usize, task: i32): void {
  const ca = int(command, 4);
  const cb = int(command, 5);
  const block = int(command, 6);
  const end = min(int(command, 3), (task + 1) * block);
  for (let r = task * block; r < end; r++) {
    const y = address(command, 2) + bytes(r * (ca + cb));
    copyFloats(y, address(command, 0) + bytes(r * ca), ca);
    copyFloats(y + bytes(ca), address(command, 1) + bytes(r * cb), cb);
  }
}

/** The parts of `concat` again. Arguments: a, b, y, R, Ca, Cb, rows of a task. */
export function split(command: usize, task: i32): void {
  const ca = int(command, 4);
  const cb = int(command, 5);
  const block = int(command, 6);
  const end = min(int(command, 3), (task + 1) * block);
  for (let r = task * block; r < end; r++) {
    const y = address(command, 2) + bytes(r * (ca + cb));
    copyFloats(address(command, 0) + bytes(r * ca), y, ca);
    copyFloats(address(command, 1) + bytes(r * cb), y + bytes(ca), cb);
  }
}
