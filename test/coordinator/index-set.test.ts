import { openIndexSet } from "@swarmvit/coordinator/core/index-set";
import fc from "fast-check";
import { expect, test } from "vitest";

test("an index set finds what a sorted list finds", () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(), fc.nat()), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 130 }), steps, (bound, changes) => {
      const set = openIndexSet(bound);
      const plain = new Set<number>();
      for (const [adds, at, probe] of changes) {
        const index = at % bound;
        if (adds) {
          set.add(index);
          plain.add(index);
        } else expect(set.delete(index)).toBe(plain.delete(index));
        const from = (probe % (bound + 2)) - 1;
        const sorted = [...plain].sort((a, b) => a - b);
        expect(set.size).toBe(plain.size);
        expect(set.has(index)).toBe(plain.has(index));
        expect(set.firstFrom(from)).toBe(sorted.find((one) => one >= from));
        expect(set.lastBelow(from)).toBe(sorted.findLast((one) => one < from));
      }
    }),
    { seed: 1 },
  );
});
