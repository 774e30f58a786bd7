import { expect, test } from "vitest";
import { runShard } from "./simulator-seeds.ts";

test("any swarm, any fault: every invariant after every event (part 1 of 4)", () => {
  // The seeds must have met what they are for.
  for (const [what, times] of Object.entries(runShard(1))) expect(times, what).toBeGreaterThan(50);
}, 600_000);
