/** The shard file: what goes in comes out, and nothing else is believed. */

import {
  decodeShard,
  encodeShard,
  encodeShardHeader,
  ShardFormatError,
} from "@swarmvit/shared/shard";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const samples = fc.array(
  fc.record({
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    label: fc.integer({ min: 0, max: 0xffffffff }),
  }),
  { maxLength: 12 },
);

/** The samples, or undefined where the bytes are refused; any other error fails the test. */
function tryDecode(bytes: Uint8Array, classes?: number) {
  try {
    return decodeShard(bytes, classes);
  } catch (error) {
    expect(error).toBeInstanceOf(ShardFormatError);
    return undefined;
  }
}

describe("shard codec", () => {
  it("has this layout", () => {
    const shard = encodeShard([
      { bytes: Uint8Array.of(7, 8), label: 3 },
      { bytes: Uint8Array.of(9), label: 0 },
    ]);
    expect(Buffer.from(shard).toString("hex")).toBe(
      `53575348${"01000000"}${"02000000"}${"240000000200000003000000"}${"260000000100000000000000"}070809`,
    );
  });

  it("gives every sample back, also from the middle of a larger buffer", () => {
    fc.assert(
      fc.property(samples, fc.integer({ min: 0, max: 9 }), (list, before) => {
        const shard = encodeShard(list);
        const embedded = new Uint8Array(before + shard.length + 5).fill(0xee);
        embedded.set(shard, before);
        const view = embedded.subarray(before, before + shard.length);
        expect(decodeShard(view).map(({ bytes, label }) => [[...bytes], label])).toEqual(
          list.map(({ bytes, label }) => [[...bytes], label]),
        );
      }),
    );
  });

  it("refuses or reads consistently whatever is changed, cut or added", () => {
    const damage = fc.record({
      changes: fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
      keep: fc.nat(600),
      extra: fc.uint8Array({ maxLength: 6 }),
    });
    fc.assert(
      fc.property(samples, damage, (list, { changes, keep, extra }) => {
        const shard = encodeShard(list);
        const damaged = new Uint8Array([...shard.subarray(0, keep), ...extra]);
        for (const [at, value] of changes) if (at < damaged.length) damaged[at] = value;
        const decoded = tryDecode(damaged);
        // What is accepted is the one file of its samples, so nothing outside it was read.
        if (decoded) expect(Buffer.compare(encodeShard(decoded), damaged)).toBe(0);
      }),
      { numRuns: 2_000 },
    );
  });

  it("refuses noise", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        expect(tryDecode(noise)).toBeUndefined();
        const headed = new Uint8Array([...encodeShard([]).subarray(0, 8), ...noise]);
        const decoded = tryDecode(headed);
        if (decoded) expect(Buffer.compare(encodeShard(decoded), headed)).toBe(0);
      }),
      { numRuns: 1_000 },
    );
  });

  it("refuses a table for four thousand million samples without allocating it", () => {
    const shard = encodeShard([{ bytes: Uint8Array.of(1), label: 0 }]);
    shard.set([0xff, 0xff, 0xff, 0xff], 8);
    expect(() => decodeShard(shard)).toThrow(/longer table/);
  });

  it("refuses labels beyond the run's classes", () => {
    const shard = encodeShard([{ bytes: Uint8Array.of(1), label: 10 }]);
    expect(decodeShard(shard, 11)).toHaveLength(1);
    expect(() => decodeShard(shard, 10)).toThrow(ShardFormatError);
  });

  it("encodes no empty sample, no negative label and no file beyond 4 GiB", () => {
    expect(() => encodeShard([{ bytes: new Uint8Array(), label: 0 }])).toThrow(RangeError);
    expect(() => encodeShard([{ bytes: Uint8Array.of(1), label: -1 }])).toThrow(RangeError);
    const huge = { length: 2 ** 31, label: 0 };
    expect(() => encodeShardHeader([huge, huge])).toThrow(/4 GiB/);
  });
});
