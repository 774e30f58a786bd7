/** Comparisons with golden numbers as data, so that the same checks run in any test runner. */

/** One comparison: the largest error found, and what was allowed. */
export interface Check {
  readonly name: string;
  readonly error: number;
  readonly tolerance: number;
  readonly ok: boolean;
}

/** A check of one number. NaN never passes. */
export function check(name: string, error: number, tolerance: number): Check {
  return { name, error, tolerance, ok: error <= tolerance };
}

/** Largest |got - want|; infinite where lengths differ or a number is not finite. */
export function maxError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length || got.length === 0) return Number.POSITIVE_INFINITY;
  let error = 0;
  for (let i = 0; i < got.length; i++) {
    const difference = Math.abs(got[i] - want[i]);
    if (!(difference <= error)) error = Number.isFinite(difference) ? difference : Infinity;
  }
  return error;
}

/** Whether two vectors hold the same bits (test runners compare long arrays very slowly). */
export function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = (x: Float32Array) => new Uint32Array(x.buffer, x.byteOffset, x.length);
  const other = bytes(b);
  return a.length === b.length && bytes(a).every((bits, i) => bits === other[i]);
}

/** Largest |x|. */
export function maxMagnitude(x: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < x.length; i++) most = Math.max(most, Math.abs(x[i]));
  return most;
}

/** |got - want| ≤ absolute + relative · max|want|, over all elements. */
export function allClose(
  name: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  { absolute = 0, relative = 0 }: { absolute?: number; relative?: number },
): Check {
  return check(name, maxError(got, want), absolute + relative * maxMagnitude(want));
}

/** The checks that failed, as lines to show; empty where all passed. */
export function failures(checks: readonly Check[]): string[] {
  if (checks.length === 0) return ["no check was made"];
  return checks
    .filter(({ ok }) => !ok)
    .map(({ name, error, tolerance }) => `${name}: error ${error}, allowed ${tolerance}`);
}
