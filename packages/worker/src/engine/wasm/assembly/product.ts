/** Products with a weight: linear layers and 1x1 convolutions, and their gradients. */

import { address, bytes, int } from "./command";
import { ACCUMULATE, multiplyPacked, multiplyTransposed, packPanel, packRows, ZERO } from "./tile";
import { put } from "./vector";

/** Rows of a weight gradient that are multiplied at once, so that both factors stay in cache. */
const DEPTH = 128;

/**
 * Panels of a weight [N, K] for y = x·wᵀ: panel p holds rows 8p … 8p+7 as [K][8].
 * Arguments: w, panels, N, K; a task is a panel.
 */
export function packForward(command: usize, task: i32): void {
  const n = int(command, 2);
  const k = int(command, 3);
  const row = task * 8;
  packPanel(
    address(command, 0) + bytes(row * k),
    bytes(k),
    min(8, n - row),
    k,
    address(command, 1) + bytes(task * 8 * k),
  );
}

/**
 * Panels of a matrix [rows, columns] as it stands: panel p holds columns 8p … 8p+7 as [rows][8].
 * Arguments: w, panels, rows, columns; a task is a panel.
 */
export function packStanding(command: usize, task: i32): void {
  const rows = int(command, 2);
  const columns = int(command, 3);
  let from = address(command, 0) + bytes(task * 8);
  let to = address(command, 1) + bytes(task * 8 * rows);
  for (let r = 0; r < rows; r++) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    from += bytes(columns);
    to += 32;
  }
}

/**
 * y [M, N] = x [M, K] · panels (+ bias).
 * Arguments: x, panels, bias or 0, y, M, K, N, rows of a task.
 */
export function linear(command: usize, task: i32, scratch: usize): void {
  const k = int(command, 5);
  const n = int(command, 6);
  const block = int(command, 7);
  const row = task * block;
  const rows = min(block, int(command, 4) - row);
  packRows(address(command, 0) + bytes(row * k), bytes(k), rows, k, scratch);
  multiplyPacked(
    scratch,
    rows,
    k,
    address(command, 1),
    n,
    address(command, 2),
    address(command, 3) + bytes(row * n),
    bytes(n),
  );
}

/**
 * dw [N, K] = dyᵀ·x and dbias [N] = Σ dy, over the rows of one chunk and one block of N.
 * Arguments: x, dy, dw, dbias or 0, M, K, N, rows of a chunk, rows of dw in a block, blocks.
 * Chunk c writes its part at dw + c·N·K and dbias + c·N.
 */
export function linearWeightGrad(command: usize, task: i32): void {
  const k = int(command, 5);
  const n = int(command, 6);
  const chunkRows = int(command, 7);
  const block = int(command, 8);
  const blocks = int(command, 9);
  const chunk = task / blocks;
  const column = (task % blocks) * block;
  const columns = min(block, n - column);
  const row = chunk * chunkRows;
  const rows = min(chunkRows, int(command, 4) - row);
  const x = address(command, 0) + bytes(row * k);
  const dy = address(command, 1) + bytes(row * n + column);
  const dw = address(command, 2) + bytes((chunk * n + column) * k);
  for (let r = 0; r < rows; r += DEPTH) {
    multiplyTransposed(
      dy + bytes(r * n),
      bytes(n),
      columns,
      x + bytes(r * k),
      bytes(k),
      k,
      min(DEPTH, rows - r),
      dw,
      bytes(k),
      r == 0 ? ZERO : ACCUMULATE,
    );
  }
  const dbias = address(command, 3);
  if (dbias) sumColumns(dy, bytes(n), rows, columns, dbias + bytes(chunk * n + column));
}

/** out[j] = Σ over rows of from[row, j]. */
function sumColumns(from: usize, stride: usize, rows: i32, columns: i32, out: usize): void {
  for (let j = 0; j < columns; j += 8) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let p = from + bytes(j);
    for (let r = rows; r > 0; r--) {
      s0 = f32x4.add(s0, v128.load(p));
      s1 = f32x4.add(s1, v128.load(p, 16));
      p += stride;
    }
    put(out + bytes(j), s0, columns - j);
    put(out + bytes(j + 4), s1, columns - j - 4);
  }
}

/**
 * out[i] = Σ over parts, in order. Arguments: parts, out, length, count; a task is 4,096 elements.
 */
export function sumParts(command: usize, task: i32): void {
  const length = int(command, 2);
  const count = int(command, 3);
  const end = min(length, (task + 1) * 4096);
  for (let i = task * 4096; i < end; i += 4) {
    let p = address(command, 0) + bytes(i);
    let sum = v128.load(p);
    for (let c = 1; c < count; c++) {
      p += bytes(length);
      sum = f32x4.add(sum, v128.load(p));
    }
    put(address(command, 1) + bytes(i), sum, end - i);
  }
}
