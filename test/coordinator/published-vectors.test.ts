import { describe, expect, test } from "vitest";
import { openPublishedVectors } from "../../packages/coordinator/src/server/published-vectors.ts";

describe("published vectors", () => {
  const publication = (name: string, more: readonly string[] = []) => ({
    weights: { parameters: name, statistics: name },
    vectors: [name, ...more].map((sha256) => ({ sha256, bytes: new Uint8Array(4) })),
  });

  test("give their memory back when nobody can ask for them or reads them", () => {
    const returned: Uint8Array[] = [];
    const store = openPublishedVectors((bytes) => returned.push(bytes));
    const first = publication("p0");
    store.add(first);
    const [held, other] = [store.hold("p0")!, store.hold("p0")!];
    for (const name of ["p1", "p2", "p3"]) store.add(publication(name));
    expect(store.hold("p0")).toBeUndefined();
    expect(returned).toEqual([]);
    held.release();
    held.release();
    expect(returned).toEqual([]);
    other.release();
    expect(returned).toEqual([first.vectors[0].bytes]);
    expect(returned[0]).toBe(first.vectors[0].bytes);
  });

  test("keep an evaluation's, and one copy of the same values", () => {
    const returned: Uint8Array[] = [];
    const store = openPublishedVectors((bytes) => returned.push(bytes));
    const start = publication("p0", ["p0", "e0"]);
    store.add(start);
    expect(returned).toEqual([start.vectors[1].bytes]);
    store.pin({ kind: "evaluation", step: 0, weights: "e0", statistics: "p0" });
    for (const name of ["p1", "p2", "p3", "p4"]) store.add(publication(name));
    expect(store.hold("e0")?.bytes).toBe(start.vectors[2].bytes);
    expect(store.hold("p0")?.bytes).toBe(start.vectors[0].bytes);
    expect(store.hold("p1")).toBeUndefined();
    expect(returned).toHaveLength(2);
  });
});
