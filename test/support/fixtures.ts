/** The oracle's golden files, read through a function so that browsers and Deno can read them too. */

import { decodeSafetensors, tensorFloats } from "@swarmvit/shared/safetensors";

/** Reads a file of `test/golden` by name. */
export type ReadGolden = (name: string) => Promise<Uint8Array>;

export interface Fixture {
  readonly metadata: Readonly<Record<string, string>>;
  has(key: string): boolean;
  keys(): readonly string[];
  shape(key: string): readonly number[];
  /** A copy, row-major in PyTorch's layout. */
  floats(key: string): Float32Array;
  integers(key: string): Int32Array;
  /** The only element of a scalar or of a tensor of one. */
  scalar(key: string): number;
}

/** Opens a safetensors file of `test/golden`. */
export async function openFixture(read: ReadGolden, name: string): Promise<Fixture> {
  const { tensors, metadata } = decodeSafetensors(await read(name));
  const tensor = (key: string) => {
    const found = tensors.get(key);
    if (!found) throw new Error(`${name} has no tensor ${key}`);
    return found;
  };
  return {
    metadata,
    has: (key) => tensors.has(key),
    keys: () => [...tensors.keys()],
    shape: (key) => tensor(key).shape,
    floats: (key) => tensorFloats(tensor(key)).slice(),
    integers: (key) => new Int32Array(tensor(key).bytes.slice().buffer),
    scalar: (key) => tensorFloats(tensor(key))[0],
  };
}

/** Reads a JSON file of `test/golden`. */
export async function openJson<T>(read: ReadGolden, name: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await read(name))) as T;
}

/** [B, C, H, W] → [B, H, W, C]. */
export function toNhwc(x: Float32Array, [b, c, h, w]: readonly number[]): Float32Array {
  const y = new Float32Array(x.length);
  for (let i = 0; i < b; i++)
    for (let k = 0; k < c; k++)
      for (let p = 0; p < h * w; p++) y[(i * h * w + p) * c + k] = x[(i * c + k) * h * w + p];
  return y;
}

/** [B, H, W, C] → [B, C, H, W]. */
export function toNchw(x: Float32Array, [b, h, w, c]: readonly number[]): Float32Array {
  const y = new Float32Array(x.length);
  for (let i = 0; i < b; i++)
    for (let k = 0; k < c; k++)
      for (let p = 0; p < h * w; p++) y[(i * c + k) * h * w + p] = x[(i * h * w + p) * c + k];
  return y;
}
