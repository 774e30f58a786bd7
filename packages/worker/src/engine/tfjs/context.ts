/** What operations on TF.js share during a run: tensors worth keeping. */

import { dropoutThreshold, siteSeed, u24 } from "@swarmvit/shared/random";
import * as tf from "@tensorflow/tfjs-core";

export interface TfjsContext {
  /** A weight turned as its operation likes it (always the same way), kept as long as the weight is. */
  derived(weight: tf.Tensor, make: () => tf.Tensor): tf.Tensor;
  /** 0 where an element is dropped, 1/(1-p) where it is kept; the same for a site and its gradient. */
  mask(site: string, p: number, shape: readonly number[]): tf.Tensor;
  /** A constant that depends on its name only. */
  constant(name: string, make: () => tf.Tensor): tf.Tensor;
}

/** The tensors that one run or one set of weights keeps alive. */
export class TensorCache {
  private readonly tensors = new Map<string, tf.Tensor>();

  get(key: string, make: () => tf.Tensor): tf.Tensor {
    const known = this.tensors.get(key);
    if (known) return known;
    const made = tf.keep(make());
    this.tensors.set(key, made);
    return made;
  }

  close(): void {
    for (const tensor of this.tensors.values()) tensor.dispose();
    this.tensors.clear();
  }
}

/** A context over three caches that live as long as a unit, the weights, and the executor. */
export function createContext(
  seed: number,
  caches: { unit: TensorCache; weights: TensorCache; constants: TensorCache },
): TfjsContext {
  return {
    derived: (weight, make) => caches.weights.get(`${weight.id}`, make),
    mask: (site, p, shape) =>
      caches.unit.get(`${site}/${p}`, () =>
        tf.tensor(dropoutMask(seed, site, p, shape), [...shape]),
      ),
    constant: (name, make) => caches.constants.get(name, make),
  };
}

/** The mask of graph.ts's `dropout`, from the hash that all executors share. */
export function dropoutMask(
  seed: number,
  site: string,
  p: number,
  shape: readonly number[],
): Float32Array {
  const mask = new Float32Array(shape.reduce((a, b) => a * b, 1));
  const siteHash = siteSeed(seed, site);
  const threshold = dropoutThreshold(p);
  const scale = 1 / (1 - p);
  for (let i = 0; i < mask.length; i++) mask[i] = u24(siteHash, i) >= threshold ? scale : 0;
  return mask;
}
