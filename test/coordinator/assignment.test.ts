// Shares of a step's units: all are given once, nobody's would come in late, and no more
// contributions are asked for than the end of the step needs.
import { shareNodes, type Worker } from "@swarmvit/coordinator/core/assignment";
import { openFreeNodes } from "@swarmvit/coordinator/core/free-nodes";
import fc from "fast-check";
import { expect, test } from "vitest";

const worker = fc.record({
  waitMs: fc.double({ min: 0, max: 5000, noNaN: true }),
  unitMs: fc.double({ min: 0.05, max: 5000, noNaN: true }),
  uploadMs: fc.double({ min: 0, max: 3000, noNaN: true }),
  isSending: fc.boolean(),
});

/** When a worker's last contribution is in: each is sent behind the one before. */
function endOf({ waitMs, unitMs, uploadMs, isSending }: Worker, levels: readonly number[]): number {
  let computedAt = waitMs;
  let sentAt = isSending ? waitMs + uploadMs : waitMs;
  for (const level of levels) {
    computedAt += 2 ** level * unitMs;
    sentAt = Math.max(sentAt, computedAt) + uploadMs;
  }
  return sentAt;
}

test("shares are all free units, and every contribution is in by the end that they promise", () => {
  fc.assert(
    fc.property(
      fc.array(worker, { minLength: 1, maxLength: 12 }),
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 7 }),
      (workers, free) => {
        const { levels, endsMs } = shareNodes(workers, free);
        const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0);
        const units = sum(levels.flat().map((level) => 2 ** level));
        expect(units).toBe(sum(free.map((count, level) => count * 2 ** level)));
        levels.forEach((own, i) => {
          expect(own).toEqual([...own].sort((a, b) => a - b));
          if (own.length > 0)
            expect(endOf(workers[i], own)).toBeLessThanOrEqual(endsMs + 1e-3 * workers[i].unitMs);
        });
      },
    ),
    { seed: 1, numRuns: 2000 },
  );
});

test("nobody ends much later than the whole swarm without lines would have to", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 10, max: 80, noNaN: true }), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 600 }),
      (speeds, units) => {
        const workers = speeds.map((unitMs) => ({ waitMs: 0, unitMs, uploadMs: 0 }));
        const free = openFreeNodes(units);
        for (let unit = 0; unit < units; unit++) free.set(unit, true, false);
        const { endsMs } = shareNodes(workers, free.counts());
        const bound = units / speeds.reduce((power, unitMs) => power + 1 / unitMs, 0);
        // One unit more for each is what whole units cost, and 8 % is what few contributions may.
        expect(endsMs).toBeLessThanOrEqual(1.1 * (bound + Math.max(...speeds)));
      },
    ),
    { seed: 2, numRuns: 500 },
  );
});

test("speeds of 1:2:4:8 get one contribution each of 60 units, measured a little wrong or not", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.99, max: 1.01, noNaN: true }), { minLength: 4, maxLength: 4 }),
      (errors) => {
        const workers = errors.map((error, i) => ({
          waitMs: 130,
          unitMs: (250 * error) / 2 ** i,
          uploadMs: 110,
        }));
        expect(shareNodes(workers, [0, 0, 1, 1, 1, 1]).levels).toEqual([[2], [3], [4], [5]]);
      },
    ),
    { seed: 3, numRuns: 500 },
  );
});

test("free nodes are the fewest whole ones, whatever is freed and taken", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 70 }),
      fc.array(fc.tuple(fc.nat(69), fc.boolean(), fc.boolean()), { maxLength: 200 }),
      (units, changes) => {
        const free = openFreeNodes(units);
        const state = new Map<number, { isFree: boolean; isAlone: boolean }>();
        for (const [at, isFree, isAlone] of changes) {
          const unit = at % units;
          free.set(unit, isFree, isAlone);
          state.set(unit, { isFree, isAlone });
        }
        const isFree = (unit: number) => state.get(unit)?.isFree === true;
        const joins = (unit: number) => isFree(unit) && !state.get(unit)?.isAlone;
        const expected: number[] = [];
        for (let unit = 0; unit < units; ) {
          let level = 0;
          const fits = (size: number) =>
            unit % size === 0 &&
            unit + size <= units &&
            Array.from({ length: size }, (_, i) => unit + i).every(joins);
          while (fits(2 ** (level + 1))) level++;
          if (isFree(unit)) expected[level] = (expected[level] ?? 0) + 1;
          unit += 2 ** level;
        }
        const counts = free.counts();
        expect(counts).toEqual(counts.map((_, level) => expected[level] ?? 0));
        expect(free.count).toBe([...state.values()].filter((at) => at.isFree).length);
        const node = free.find(30, 0, () => true);
        const largest = counts.findLastIndex((count) => count > 0);
        expect(node?.level).toBe(largest < 0 ? undefined : largest);
      },
    ),
    { seed: 4, numRuns: 1000 },
  );
});
