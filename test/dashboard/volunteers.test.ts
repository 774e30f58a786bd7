import type { VolunteerRow } from "@swarmvit/shared/run";
import { expect, test } from "vitest";
import { extendSpeeds, SPEED_SAMPLES } from "../../packages/dashboard/src/speeds.ts";
import { rankVolunteers, standingBy } from "../../packages/dashboard/src/volunteers.ts";

function volunteer(id: string, part: Partial<VolunteerRow> = {}): VolunteerRow {
  return {
    ...{ id, name: id, device: "wasm · node", executor: "wasm", connected: true, state: "idle" },
    ...{ imagesPerSecond: 1, accepted: 0, refused: 0, expired: 0, samples: 0, leases: 0 },
    ...{ lastStep: 0, joinedAt: 0, ...part },
  } as VolunteerRow;
}

test("numbers sort from the largest, names from A, and those who left come last", () => {
  const rows = [
    volunteer("b", { samples: 5 }),
    volunteer("a", { samples: 1 }),
    volunteer("gone", { samples: 99, connected: false }),
  ];
  const ids = (key: "samples" | "name") => rankVolunteers(rows, key, 5).shown.map((row) => row.id);
  expect(ids("samples")).toEqual(["b", "a", "gone"]);
  expect(ids("name")).toEqual(["a", "b", "gone"]);
});

test("of many who left only the latest are shown, the others are counted", () => {
  const rows = [1, 2, 3, 4].map((n) => volunteer(`v${n}`, { connected: false, lastStep: n }));
  const { shown, hidden } = rankVolunteers(rows, "samples", 2);
  expect(shown.map((row) => row.id)).toEqual(["v4", "v3"]);
  expect(hidden).toBe(2);
});

test("speeds are sampled once a second, kept to a length, and forgotten with the volunteer", () => {
  let speeds = extendSpeeds({ time: 0, rows: new Map() }, [volunteer("a")], 10_000);
  expect(extendSpeeds(speeds, [volunteer("a")], 10_500)).toBe(speeds);
  for (let i = 1; i <= 100; i++)
    speeds = extendSpeeds(speeds, [volunteer("a", { imagesPerSecond: i })], 10_000 + 1000 * i);
  expect(speeds.rows.get("a")).toHaveLength(SPEED_SAMPLES);
  expect(speeds.rows.get("a")?.at(-1)).toBe(100);
  expect(extendSpeeds(speeds, [], 999_999).rows.size).toBe(0);
});

test("whoever is beyond the units of a step stands by, and the batch size that would help is named", () => {
  const config = { "batch-size": 64, "unit-size": 16 };
  const rows = Array.from({ length: 6 }, (_, i) => volunteer(`v${i}`));
  const away = [volunteer("gone", { connected: false }), volunteer("off", { state: "paused" })];
  expect(standingBy([...rows, ...away], config)).toEqual({ spare: 2, units: 4, batchSize: 192 });
  expect(standingBy(rows.slice(0, 4), config)).toBeUndefined();
  expect(standingBy(rows, {})).toBeUndefined();
});
