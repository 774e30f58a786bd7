/** Splits one list of samples into training and validation data, the same for the same seed. */

import { permutation, siteSeed } from "@swarmvit/shared/random";
import type { SampleSource } from "./dataset.ts";

/**
 * Takes round(n · fraction) of each class's n samples for validation, at least one where n ≥ 2, and
 * leaves at least one for training. Both halves keep the source's order.
 */
export function splitStratified(
  source: SampleSource,
  classes: readonly string[],
  fraction: number,
  seed: number,
): { train: SampleSource; validation: SampleSource } {
  const members: number[][] = classes.map(() => []);
  for (let i = 0; i < source.count; i++) members[source.label(i)].push(i);
  const validates = new Uint8Array(source.count);
  for (const [c, ids] of members.entries()) {
    const wanted = Math.round(ids.length * fraction);
    const taken = Math.min(Math.max(wanted, 1), ids.length - 1);
    const order = permutation(ids.length, siteSeed(seed, `validation of ${classes[c]}`));
    for (let k = 0; k < taken; k++) validates[ids[order[k]]] = 1;
  }
  const pick = (side: number) =>
    Uint32Array.from({ length: source.count }, (_, i) => i).filter((i) => validates[i] === side);
  return { train: subset(source, pick(0)), validation: subset(source, pick(1)) };
}

function subset(source: SampleSource, ids: Uint32Array): SampleSource {
  return {
    count: ids.length,
    label: (i) => source.label(ids[i]),
    name: (i) => source.name(ids[i]),
    read: (i) => source.read(ids[i]),
  };
}
