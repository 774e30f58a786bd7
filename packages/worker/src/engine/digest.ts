/** What a tensor is boiled down to, to be compared with numbers from another machine (SPEC section 10). */

import { fnv1a32, uniform } from "@swarmvit/shared/random";

export interface Digest {
  readonly l2: number;
  readonly sum: number;
  /** Σ t_i·(2u_i - 1) with SPEC's u("probe", i): sees order and signs. */
  readonly probe: number;
  /** Largest magnitude. */
  readonly max: number;
}

const PROBE = fnv1a32("probe");

/** The digest of a tensor in PyTorch's layout, in float64. */
export function digestOf(tensor: Float32Array): Digest {
  let [squares, sum, probe, max] = [0, 0, 0, 0];
  for (let i = 0; i < tensor.length; i++) {
    const t = tensor[i];
    squares += t * t;
    sum += t;
    probe += t * (2 * uniform(PROBE, i) - 1);
    const magnitude = Math.abs(t);
    if (!(magnitude <= max)) max = magnitude; // NaN stays seen
  }
  return { l2: Math.sqrt(squares), sum, probe, max };
}
