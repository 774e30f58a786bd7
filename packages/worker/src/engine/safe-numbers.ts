/**
 * Guards against devices that compute wrongly in silence: after a lost buffer or out of memory a
 * GPU may return NaN, zeros or old numbers without an error (SPEC section 10 on null gradients).
 */

import { nullGradients } from "@swarmvit/shared/null-gradients";
import type { ParameterTable } from "@swarmvit/shared/parameters";

/** A unit's numbers cannot be right; the message says what was seen and what to do. */
export class UnsafeNumbersError extends Error {
  override readonly name = "UnsafeNumbersError";
  /** `nonfinite` may be the weights' or the samples' fault; `zero` is the device's. */
  readonly reason: "nonfinite" | "zero";

  constructor(reason: "nonfinite" | "zero", message: string) {
    super(message);
    this.reason = reason;
  }
}

/**
 * Throws unless the loss and every number of a unit's gradient (in either layout) are finite and
 * no tensor is all zeros whose gradient is not null at this size.
 */
export function checkUnit(
  table: ParameterTable,
  height: number,
  width: number,
  loss: number,
  gradient: Float32Array,
): void {
  if (!Number.isFinite(loss))
    throw new UnsafeNumbersError(
      "nonfinite",
      `the loss of a unit of ${height}x${width} is ${loss}; if it repeats on another device the weights diverged, else restart this one`,
    );
  const { tensors } = nullGradients(table.variant, height, width);
  for (const { name, offset, size } of table.parameters) {
    let nonzero = false;
    for (let i = offset; i < offset + size; i++) {
      const g = gradient[i];
      if (!Number.isFinite(g))
        throw new UnsafeNumbersError(
          "nonfinite",
          `the gradient of ${name} at ${height}x${width} holds ${g}, expected finite numbers; compute the unit on another device`,
        );
      if (g !== 0) nonzero = true;
    }
    if (!nonzero && !tensors.has(name))
      throw new UnsafeNumbersError(
        "zero",
        `the gradient of ${name} at ${height}x${width} is all zeros; the device is probably out of memory: restart it, or use the wasm backend`,
      );
  }
}
