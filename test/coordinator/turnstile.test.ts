/** A crowd is let through in order, a few in each turn of the event loop, and others get their turns. */

import { expect, it } from "vitest";
import { openTurnstile } from "../../packages/coordinator/src/server/turnstile.ts";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

it("a crowd goes through in order, so many a turn", async () => {
  const turnstile = openTurnstile(3);
  const through: number[] = [];
  for (let i = 0; i < 10; i++) turnstile.pass(() => through.push(i));
  const counts = [through.length];
  while (through.length < 10) {
    await nextTurn();
    counts.push(through.length);
  }
  expect(counts).toEqual([3, 6, 9, 10]);
  expect(through).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

it("who comes alone passes at once, and nobody overtakes those who wait", async () => {
  const turnstile = openTurnstile(1);
  const through: string[] = [];
  const come = (name: string) => turnstile.pass(() => through.push(name));
  come("first");
  expect(through).toEqual(["first"]);
  come("second");
  await nextTurn();
  come("third");
  expect(through).toEqual(["first", "second"]);
  await nextTurn();
  await nextTurn();
  come("fourth");
  expect(through).toEqual(["first", "second", "third", "fourth"]);
});

it("what passes may bring others, which wait their turn", async () => {
  const turnstile = openTurnstile(2);
  const through: string[] = [];
  turnstile.pass(() => {
    through.push("parent");
    for (const name of ["a", "b"]) turnstile.pass(() => through.push(name));
  });
  expect(through).toEqual(["parent", "a"]);
  await nextTurn();
  expect(through).toEqual(["parent", "a", "b"]);
});
