/** A Web Worker that measures one executor: as a page's own thread would run it, and terminated as easily. */

import { expose } from "comlink";
import type { Profile } from "../bench/profile.ts";
import { profileWasm } from "../bench/profile-wasm.ts";
import { profileWebgpu } from "../bench/profile-webgpu.ts";
import { modelOf, openRounds, type Rounds, type UnitSize } from "../bench/unit.ts";
import { type ExecutorName, startExecutor } from "../client/executors.ts";
import { fetchModule } from "../engine/wasm/modules-web.ts";
import { openDevice } from "../engine/webgpu/device.ts";
import { pageHost } from "./page-host.ts";

let rounds: Rounds;

const thread = {
  /** Computes the first unit. */
  async open(name: ExecutorName, unit: UnitSize) {
    const begunAt = performance.now();
    const device = await startExecutor(name, pageHost());
    rounds = await openRounds(await device.createExecutor(modelOf(unit)), unit, begunAt);
    const { description, firstMs, counts } = rounds;
    return { description, firstMs, counts };
  },
  /** Milliseconds of one more unit. */
  round: () => rounds.round(),
  /** Where a unit's time goes; own executors only. */
  async profile(name: ExecutorName, unit: UnitSize): Promise<Profile | undefined> {
    if (name === "wasm") return profileWasm(unit, fetchModule);
    if (name === "webgpu") return profileWebgpu(unit, await openDevice());
    return undefined;
  },
};
export type BenchThread = typeof thread;

expose(thread);
