/**
 * Weights packed for the product kernel: once for each set of weights, not for each unit. A weight
 * has up to two forms, for the product forward and for the gradient of its input.
 */

import type { CommandName } from "./opcodes.ts";

export type PackedForm = "forward" | "backward";

export interface Packing {
  readonly command: CommandName;
  /** Arguments after the two addresses (weight, panels). */
  readonly sizes: readonly [number, number];
  /** Panels of eight columns. */
  readonly panels: number;
  readonly bytes: number;
}

/** How a weight, [N, K] or [3, 3, Cin, Cout], is packed in one of its forms. */
export function packingOf(shape: readonly number[], form: PackedForm): Packing {
  if (shape.length === 2) {
    const [n, k] = shape;
    return form === "forward"
      ? packing("packForward", [n, k], n, k)
      : packing("packStanding", [n, k], k, n);
  }
  if (shape.length === 4) {
    const [, , inputs, outputs] = shape;
    return form === "forward"
      ? packing("packStanding", [9 * inputs, outputs], outputs, 9 * inputs)
      : packing("packTurned", [inputs, outputs], inputs, 9 * outputs);
  }
  throw new Error(
    `a weight of shape [${shape}] is not packed; expected [N, K] or [3, 3, Cin, Cout]`,
  );
}

function packing(
  command: CommandName,
  sizes: readonly [number, number],
  columns: number,
  depth: number,
): Packing {
  const panels = Math.ceil(columns / 8);
  return { command, sizes, panels, bytes: panels * 8 * depth * 4 };
}
