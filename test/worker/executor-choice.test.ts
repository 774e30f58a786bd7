/** Which device `auto` takes: real executors behind devices that are slow, wrong or missing. */

import { openCompute } from "@swarmvit/worker/client/compute";
import { chooseDevice } from "@swarmvit/worker/client/executor-choice";
import {
  type ExecutorName,
  type FoundDevice,
  startExecutor,
} from "@swarmvit/worker/client/executors";
import { problemOf } from "@swarmvit/worker/client/problems";
import { createChoiceStore } from "@swarmvit/worker/engine/choice-store";
import type { Executor } from "@swarmvit/worker/engine/executor";
import { SelfTestFailed } from "@swarmvit/worker/engine/self-test";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { decodeInNode } from "@swarmvit/worker/input/decode-node";
import { expect, it } from "vitest";

const KEY = "executor: some adapter";
const NAMES: readonly ExecutorName[] = ["webgpu", "wasm", "tfjs-wasm"];
const processor = () => startExecutor("wasm", { kind: "node", loadModule: loadModuleFromDisk });

/** The processor under another name: computes each unit several times, or multiplies what it gives. */
async function device({ times = 1, factor = 1 } = {}): Promise<FoundDevice> {
  const { info, createExecutor } = await processor();
  return {
    info,
    async createExecutor(config): Promise<Executor> {
      const executor = await createExecutor(config);
      return {
        ...executor,
        startNode() {
          const node = executor.startNode();
          return {
            ...node,
            async add(batch, signal) {
              for (let i = 1; i < times; i++) await executor.startNode().add(batch, signal);
              return node.add(batch, signal);
            },
            async finish() {
              const sums = await node.finish();
              return { ...sums, gradient: sums.gradient.map((g) => factor * g) };
            },
          };
        },
      };
    },
  };
}

/** Devices by name, and the order in which they were started. */
function devices(made: Partial<Record<ExecutorName, () => Promise<FoundDevice>>>) {
  const started: ExecutorName[] = [];
  const start = async (name: ExecutorName): Promise<FoundDevice> => {
    started.push(name);
    const make = made[name];
    if (!make) throw new Error(`no ${name} here`);
    return make();
  };
  return { start, started };
}

it("takes the faster of processor and GPU, and remembers it", async () => {
  for (const [slow, fastest] of [
    ["webgpu", "wasm"],
    ["wasm", "webgpu"],
  ] as const) {
    const choices = createChoiceStore();
    const { start, started } = devices({
      [fastest]: () => device(),
      [slow]: () => device({ times: 3 }),
    });
    const chosen = await chooseDevice({ names: NAMES, start, choices, key: KEY });
    expect([chosen.name, chosen.passedOver]).toEqual([fastest, []]);
    expect(started).toContain(slow);
    expect(await choices.get(KEY)).toBe(fastest);

    const again = devices({ [fastest]: () => device(), wasm: () => device() });
    expect((await chooseDevice({ names: NAMES, start: again.start, choices, key: KEY })).name).toBe(
      fastest,
    );
    expect(new Set(again.started)).toEqual(new Set([fastest, "wasm"])); // wasm judges the GPU
  }
});

it("passes over a GPU that computes wrongly, says so, and tries it again next time", async () => {
  const choices = createChoiceStore();
  const { start } = devices({ wasm: () => device(), webgpu: () => device({ factor: 1.1 }) });
  const chosen = await chooseDevice({ names: NAMES, start, choices, key: KEY });
  expect(chosen.name).toBe("wasm");
  expect(chosen.passedOver).toMatchObject([
    { name: "webgpu", wrong: true, detail: expect.stringMatching(/expected/) },
  ]);
  expect(await choices.get(KEY)).toBeUndefined();
});

it("tests a remembered device as well", async () => {
  const choices = createChoiceStore();
  await choices.set(KEY, "webgpu");
  const { start } = devices({ wasm: () => device(), webgpu: () => device({ factor: -1 }) });
  const chosen = await chooseDevice({ names: NAMES, start, choices, key: KEY });
  expect([chosen.name, chosen.passedOver[0].name]).toEqual(["wasm", "webgpu"]);
});

it("ends with what the last one said where none passes", async () => {
  const wrong = devices({ webgpu: () => device({ factor: 0.5 }) });
  const choosing = { names: ["webgpu"], start: wrong.start } as const;
  await expect(chooseDevice(choosing)).rejects.toThrow(SelfTestFailed);
  const none = devices({});
  await expect(chooseDevice({ names: NAMES, start: none.start, key: KEY })).rejects.toThrow(
    "no tfjs-wasm here",
  );
});

it("tells the volunteer which problem it is, in words", async () => {
  const probe = async (names: readonly ExecutorName[]) => {
    const { start } = devices({ wasm: () => device(), webgpu: () => device({ factor: 0.5 }) });
    const port = openCompute({
      decode: decodeInNode,
      platform: "node",
      memoryBytes: 2 ** 30,
      findDevice: () => chooseDevice({ names, start }),
    });
    return port.probe("auto");
  };
  const refused = await probe(["webgpu"]);
  expect(refused).toMatchObject({ ok: false, problem: "self-test" });
  expect(refused).toMatchObject({ detail: expect.stringMatching(/is .* expected/) });
  const { title, advice, severity } = problemOf("self-test");
  expect([title, advice, severity].join()).toMatch(/self-test.*backend=wasm.*stop/);

  const instead = await probe(["webgpu", "wasm"]);
  expect(instead).toMatchObject({ ok: true, device: { executor: "wasm" } });
  expect(instead).toMatchObject({ wrong: expect.stringMatching(/expected/) });
  expect(problemOf("gpu-failed-self-test").severity).toBe("notice");
});
