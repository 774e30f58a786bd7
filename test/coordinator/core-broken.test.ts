import type { Effect } from "@swarmvit/coordinator/core/messages";
import { openSession } from "@swarmvit/coordinator/core/session";
import { runSwarm } from "@swarmvit/coordinator/simulate/swarm";
import type { SwarmConfig } from "@swarmvit/coordinator/simulate/swarm-config";
import { wildSwarm } from "@swarmvit/coordinator/simulate/wild";
import { expect, test } from "vitest";
import { runSeeds } from "./simulator-seeds.ts";

/** A fault of the core: other effects than the real one's. */
type Fault = (effect: Effect, isNth: boolean) => Effect[];

/** Each is what an invariant of the simulator is there to notice. */
const FAULTS: [name: string, fault: Fault, violation: RegExp][] = [
  [
    "adds two halves in the wrong order",
    (effect, now) => [
      effect.type === "add" && now ? { ...effect, left: effect.right, right: effect.left } : effect,
    ],
    /^seed \d+ failed/,
  ],
  [
    "counts a contribution twice",
    (effect, now) => (effect.type === "verdict" && now ? [effect, effect] : [effect]),
    /was counted twice/,
  ],
  [
    "applies another weight than was counted",
    (effect, now) => [effect.type === "commit" && now ? { ...effect, samples: 1 } : effect],
    /applies 1 samples, counted are/,
  ],
  [
    "commits a step twice",
    (effect, now) => (effect.type === "commit" && now ? [effect, effect] : [effect]),
    /commits out of order/,
  ],
  [
    "commits one step in the place of another",
    (effect, now) => [
      effect.type === "commit" && now ? { ...effect, step: effect.step + 1 } : effect,
    ],
    /commits out of order/,
  ],
  [
    "counts what it refused",
    (effect) => [
      effect.type === "verdict" && !effect.verdict.accepted
        ? {
            ...effect,
            verdict: { ...effect.verdict, accepted: true, samples: 1, contributions: 1 },
          }
        : effect,
    ],
    /was (refused|revoked) and counted|was counted (unseen|twice)/,
  ],
  [
    "gives out a lease of a step that is over",
    (effect, now) => [
      effect.type === "lease" && now
        ? { ...effect, lease: { ...effect.lease, step: effect.lease.step - 1 } }
        : effect,
    ],
    /was given out in step/,
  ],
  [
    "forgets to commit",
    (effect, now) => (effect.type === "commit" && now ? [] : [effect]),
    /the run stands still/,
  ],
];

test.each(FAULTS)(
  "a core that %s is noticed, and its seed names the replay",
  (_, fault, violation) => {
    const swarmOf = (seed: number, steps: number): SwarmConfig => ({
      ...wildSwarm(seed, steps),
      openCore: brokenCore(fault),
    });
    const failing = () => runSeeds(1, 20, swarmOf);
    expect(failing).toThrow(violation);
    expect(failing).toThrow(
      /replay it with: npx swarmvit simulate --scenario wild --seed \d+ --steps 200$/,
    );
  },
);

test("what a broken core does wrong is found again in the same place", () => {
  const [, fault] = FAULTS[1];
  const run = () => runSwarm({ ...wildSwarm(3, 200), openCore: brokenCore(fault) }).violations;
  expect(run()).not.toEqual([]);
  expect(run()).toEqual(run());
});

/** The real core, but the third effect of each type goes through the fault marked, in every life. */
function brokenCore(fault: Fault): typeof openSession {
  return (options) => {
    const core = openSession(options);
    const seen = new Map<Effect["type"], number>();
    return {
      ...core,
      handle(event, nowMs) {
        return core.handle(event, nowMs).flatMap((effect) => {
          const count = (seen.get(effect.type) ?? 0) + 1;
          seen.set(effect.type, count);
          return fault(effect, count === 3);
        });
      },
    };
  };
}
