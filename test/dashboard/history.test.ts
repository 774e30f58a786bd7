import { expect, test } from "vitest";
import {
  EMPTY_HISTORY,
  extendHistory,
  type History,
  pagePosition,
} from "../../packages/dashboard/src/history.ts";
import { evalRecord, eventRecord, stepRecord } from "./records.ts";

const stepsOf = (history: History) => history.steps.map((row) => row.step);

test("a thinned snapshot is taken whole and its cursor kept", () => {
  const page = { cursor: 900, records: [stepRecord(1), stepRecord(3), evalRecord(3)] };
  const history = extendHistory(EMPTY_HISTORY, page);
  expect(stepsOf(history)).toEqual([1, 3]);
  expect(history.evals).toHaveLength(1);
  expect(history.cursor).toBe(900);
});

test("a page that continues is told from one that leaves a gap and one that is old", () => {
  const history = { ...EMPTY_HISTORY, cursor: 10 };
  const page = (cursor: number, count: number) => ({
    cursor,
    records: Array.from({ length: count }, (_, i) => stepRecord(cursor - count + 1 + i)),
  });
  expect(pagePosition(history, page(11, 1))).toBe("next");
  expect(pagePosition(history, page(12, 5))).toBe("next");
  expect(pagePosition(history, page(12, 1))).toBe("gap");
  expect(pagePosition(history, page(10, 3))).toBe("old");
});

test("of an overlapping page only what is new is added", () => {
  const records = [eventRecord(1, "a"), eventRecord(2, "b"), eventRecord(3, "c")];
  const first = extendHistory(EMPTY_HISTORY, { cursor: 2, records: records.slice(0, 2) });
  const second = extendHistory(first, { cursor: 3, records: records.slice(1) });
  expect(second.log.map((record) => record.what)).toEqual(["a", "b", "c"]);
});

test("after a rollback the new steps replace the old ones and the evaluations after them", () => {
  const before = extendHistory(EMPTY_HISTORY, {
    cursor: 6,
    records: [1, 2, 3, 4].map((step) => stepRecord(step)),
  });
  const evaluated = extendHistory(
    { ...before, cursor: 4 },
    { cursor: 6, records: [evalRecord(2), evalRecord(4)] },
  );
  const after = extendHistory(evaluated, { cursor: 7, records: [stepRecord(3, { loss: 9 })] });
  expect(stepsOf(after)).toEqual([1, 2, 3]);
  expect(after.steps[2].loss).toBe(9);
  expect(after.evals.map((row) => row.step)).toEqual([2]);
});

test("the log keeps the latest records only", () => {
  const records = Array.from({ length: 500 }, (_, i) => eventRecord(i, `e${i}`));
  const { log } = extendHistory(EMPTY_HISTORY, { cursor: 500, records });
  expect(log.length).toBe(200);
  expect(log[199].what).toBe("e499");
});
