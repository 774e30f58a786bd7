/** What a simulated swarm is made of, and what may happen to it. */

import type { Codec } from "@swarmvit/shared/codec";
import type { CoreEvent } from "../core/messages.ts";
import type { SessionOptions } from "../core/options.ts";
import type { openSession } from "../core/session.ts";
import type { Clock } from "./clock.ts";
import type { DeviceModel } from "./device.ts";
import type { Faults } from "./faults.ts";
import type { Arithmetic } from "./state.ts";
import type { ShellCosts } from "./vectors.ts";

export interface SwarmConfig {
  readonly seed: number;
  /** One volunteer of each; whoever leaves for good is followed by one of the same kind. */
  readonly devices: readonly DeviceModel[];
  readonly arithmetic: Arithmetic;
  readonly codec: Codec;
  readonly costs: ShellCosts;
  /** U of a step. */
  readonly unitCount: number;
  readonly session: Omit<SessionOptions, "start" | "tools" | "startedAt">;
  /** Milliseconds between opening the link and the first word. */
  readonly joinMs: number;
  /** Share of the volunteers that is replaced each minute. */
  readonly churn: number;
  readonly faults: Faults;
  /** From this step on nothing goes wrong any more. */
  readonly faultsUntilStep: number;
  readonly undecodable?: ReadonlySet<number>;
  /** Bytes of uploads that may be on their way at once. */
  readonly uploadBudget?: number;
  readonly chunkBytes: number;
  /** Bytes of p_t as float32, and of the delta from the version before. */
  readonly weightsBytes: number;
  readonly deltaBytes: number;
  /** Published parameters after so many commits, where they are known. */
  reference?(commits: number): string | undefined;
  onStep?(steps: number, clock: Clock): void;
  /** What the core is about to be told, and when: told the same again, it does the same. */
  onEvent?(event: CoreEvent, now: number): void;
  /** Opens the core; another than the real one shows that what it does wrong is noticed. */
  readonly openCore?: typeof openSession;
}
