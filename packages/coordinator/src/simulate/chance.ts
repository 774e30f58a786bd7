/** Seeded chance for simulations, and a stand-in for the run's secrets. */

import { hash32, uniform } from "@swarmvit/shared/random";
import type { CoreTools } from "../core/messages.ts";

export interface Chance {
  /** Uniform in [0, 1). */
  next(): number;
  between(low: number, high: number): number;
  /** True with this probability. */
  happens(probability: number): boolean;
  /** A whole number in [0, n). */
  below(n: number): number;
}

/** Opens the stream of chance that a seed names. */
export function openChance(seed: number): Chance {
  let index = 0;
  const next = () => uniform(seed, index++);
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    happens: (probability) => probability > 0 && next() < probability,
    below: (n) => Math.floor(n * next()),
  };
}

/** The run's secrets and fresh ids, all from a seed. */
export function toyTools(seed: number): CoreTools {
  let ids = 0;
  return {
    mac: (text) => toyMac(seed, text),
    freshId: () => toyMac(seed + 1, `${ids++}`).slice(0, 16),
  };
}

/** 32 hex digits of a text and a key: stands in for an HMAC. */
export function toyMac(key: number, text: string): string {
  let a = hash32(key, 0);
  let b = hash32(key, 1);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ (code + i), 0x85ebca6b);
  }
  let hex = "";
  for (let part = 0; part < 4; part++)
    hex += hash32(part % 2 === 0 ? a : b, part)
      .toString(16)
      .padStart(8, "0");
  return hex;
}
