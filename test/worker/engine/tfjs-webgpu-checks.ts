/** The oracle's checks on TF.js's WebGPU backend, bundled and run in a page. */

import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { openTfjsRunGraph } from "@swarmvit/worker/engine/tfjs/interpreter";
import { type Check, failures } from "../../support/allclose.ts";
import type { ReadGolden } from "../../support/fixtures.ts";
import { checkBlocks } from "../../support/oracle-blocks.ts";
import { checkExecutor, openNetwork } from "../../support/oracle-network.ts";
import { checkOperations } from "../../support/oracle-operations.ts";

export type Group = "operations" | "blocks" | "network";

/** What a group of checks found, and on which backend. */
export interface Found {
  readonly description: string;
  readonly checks: number;
  readonly failures: readonly string[];
}

export async function checks(group: Group, read: ReadGolden): Promise<Found> {
  const network = await openNetwork(read, "cls_xxs_4x3x64x64");
  const executor = await createTfjsExecutor(network.config, "webgpu");
  const run = await openTfjsRunGraph("webgpu");
  const found: Check[] =
    group === "operations"
      ? await checkOperations(run, read)
      : group === "blocks"
        ? await checkBlocks(run, read)
        : await checkExecutor(executor, network);
  const { description } = executor.info;
  await executor.close();
  return { description, checks: found.length, failures: failures(found) };
}
