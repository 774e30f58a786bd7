// Shares of a step's units: all are covered, at virtual times and at Unix times alike.
import { shareUnits } from "@swarmvit/coordinator/core/assignment";
import fc from "fast-check";
import { expect, test } from "vitest";

test("shares cover all units, and nobody would end a unit after the others could have it", () => {
  const worker = fc.record({
    wait: fc.double({ min: 0, max: 5000, noNaN: true }),
    unitMs: fc.double({ min: 0.05, max: 5000, noNaN: true }),
  });
  fc.assert(
    fc.property(
      fc.array(worker, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 600 }),
      fc.constantFrom(0, 1.795e12),
      (devices, units, start) => {
        const workers = devices.map(({ wait, unitMs }) => ({ readyAt: start + wait, unitMs }));
        const shares = shareUnits(workers, units);
        const given = shares.units.reduce((sum, count) => sum + count, 0);
        expect(given).toBeGreaterThanOrEqual(units);
        expect(given).toBeLessThan(units + devices.length);
        shares.units.forEach((count, i) => {
          const { readyAt, unitMs } = workers[i];
          if (count > 0)
            expect(readyAt + count * unitMs).toBeLessThanOrEqual(
              shares.endsAt + 0.01 * unitMs + 0.01,
            );
        });
      },
    ),
    { seed: 1, numRuns: 2000 },
  );
});
