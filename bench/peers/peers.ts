/**
 * The peers by name: those on webgpu run in Deno on lavapipe, or in an installed browser on SwiftShader
 * (on its own GPU with BENCH_GPU=1). PyTorch and jax-js are no dependencies of this project: the environment says
 * where they are.
 *
 *   PEER_TORCH   folder with mobilevit_torch.py (class MobileViT)
 *   PEER_PYTHON  a Python that has PyTorch; "python3" unless given
 *   PEER_JAX_JS  folder with mvit_jax.mjs and @jax-js/jax installed in it
 */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { profileWasm } from "@swarmvit/worker/bench/profile-wasm";
import { profileWebgpu } from "@swarmvit/worker/bench/profile-webgpu";
import { CLASSES, modelOf, openRounds, type UnitSize } from "@swarmvit/worker/bench/unit";
import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createWebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";
import { openDawn } from "@swarmvit/worker/node/dawn";
import { bundle } from "../../test/support/bundle.ts";
import { findDeno, LAVAPIPE } from "../../test/support/deno.ts";
import { type ChromiumPeer, startInChromium } from "./chromium.ts";
import { type Peer, PeerMissing, type RunningPeer } from "./peer.ts";
import { openPeerProcess, talkTo } from "./peer-process.ts";

/** Every peer, the own executors first. */
export const PEERS: readonly Peer[] = [
  ownWasm("wasm", 1),
  ownWasm("wasm-2-threads", 2),
  ownWasm("wasm-relaxed", 1, true),
  { name: "tfjs-wasm", start: (unit) => tfjs("wasm", unit) },
  inDeno("webgpu"),
  inDeno("tfjs-webgpu"),
  { name: "webgpu-dawn", start: inDawn },
  inChromium("webgpu-chromium", "tfjs-webgpu-chromium"),
  inChromium("wasm-chromium"),
  inChromium("tfjs-webgpu-chromium"),
  torch("torch", 1),
  torch("torch-2-threads", 2),
  torch("torch-cuda", 1, "cuda"),
  jaxJs("jax-js-wasm", "wasm"),
  jaxJs("jax-js-webgpu", "webgpu"),
];

/** The peer of that name; an error names all of them. */
export function peerNamed(name: string): Peer {
  const peer = PEERS.find((one) => one.name === name);
  if (peer) return peer;
  throw new Error(`no peer ${name}; there are ${PEERS.map((one) => one.name).join(", ")}`);
}

function ownWasm(name: string, threads: number, relaxed = false): Peer {
  return {
    name,
    tfjs: "tfjs-wasm",
    async start(unit) {
      const begunAt = performance.now();
      const options = { loadModule: loadModuleFromDisk, threads, relaxed };
      const executor = await createWasmExecutor(modelOf(unit), options);
      const rounds = await openRounds(executor, unit, begunAt);
      if (name !== "wasm") return rounds;
      return { ...rounds, profile: () => profileWasm(unit, loadModuleFromDisk) };
    },
  };
}

async function tfjs(backend: "wasm", unit: UnitSize): Promise<RunningPeer> {
  const begunAt = performance.now();
  return openRounds(await createTfjsExecutor(modelOf(unit), backend), unit, begunAt);
}

function torch(name: string, threads: number, device = "cpu"): Peer {
  return {
    name,
    async start({ variant, height, width, batch }) {
      const folder = folderOf("PEER_TORCH", "mobilevit_torch.py");
      const driver = fileURLToPath(new URL("torch-driver.py", import.meta.url));
      return openPeerProcess({
        command: process.env.PEER_PYTHON ?? "python3",
        args: [
          ...[driver, folder, variant, ...[height, width, batch, CLASSES].map(String)],
          ...["--device", device],
        ],
        // glibc's default thresholds return memory to the system after every step
        env: {
          OMP_NUM_THREADS: String(threads),
          OPENBLAS_NUM_THREADS: String(threads),
          MALLOC_MMAP_MAX_: "0",
          MALLOC_TRIM_THRESHOLD_: "17179869184",
          MALLOC_TOP_PAD_: "67108864",
        },
      });
    },
  };
}

function jaxJs(name: string, device: "wasm" | "webgpu"): Peer {
  return {
    name,
    async start({ variant, height, width, batch }) {
      if (variant !== "xxs" || height !== width)
        throw new PeerMissing("this jax-js model is XXS on square images only");
      const folder = folderOf("PEER_JAX_JS", "mvit_jax.mjs");
      const driver = fileURLToPath(new URL("jax-driver.mjs", import.meta.url));
      const args = [driver, folder, device, ...[height, batch, CLASSES].map(String)];
      if (device === "wasm") return openPeerProcess({ command: process.execPath, args });
      return openPeerProcess({
        command: denoOrMissing(),
        args: ["run", "-A", "--unstable-webgpu", ...args],
        env: { VK_ICD_FILENAMES: LAVAPIPE, NO_COLOR: "1" },
      });
    },
  };
}

function inDeno(name: "webgpu" | "tfjs-webgpu"): Peer {
  return {
    name,
    tfjs: name === "webgpu" ? "tfjs-webgpu" : undefined,
    async start(unit) {
      const deno = denoOrMissing();
      const code = await bundle(fileURLToPath(new URL("deno-driver.ts", import.meta.url)));
      const folder = await mkdtemp(join(tmpdir(), "swarmvit-peer-"));
      const forget = () => rm(folder, { recursive: true, force: true });
      try {
        const script = join(folder, "script.mjs");
        // TF.js takes whatever has `process` for Node, and asks it for modules; a worker it knows
        const worker = "delete globalThis.process; globalThis.WorkerGlobalScope = class {};";
        await writeFile(script, `${worker}\n${code}`);
        const args = ["run", "-A", "--unstable-webgpu", script, name, JSON.stringify(unit)];
        const child = spawn(deno, args, {
          env: { ...process.env, VK_ICD_FILENAMES: LAVAPIPE, NO_COLOR: "1" },
          stdio: "pipe",
        });
        const peer = await talkTo(child);
        return { ...peer, close: () => peer.close().finally(forget) };
      } catch (error) {
        await forget();
        throw error;
      }
    },
  };
}

/** The machine's own GPU in this process, through the optional package `webgpu`. */
async function inDawn(unit: UnitSize): Promise<RunningPeer> {
  const begunAt = performance.now();
  const open = async () => openDevice({ gpu: await openDawn() });
  const { device, ...adapter } = await open().catch((cause: Error) => {
    throw new PeerMissing(cause.message, { cause });
  });
  const executor = await createWebgpuExecutor(modelOf(unit), device, adapter);
  const rounds = await openRounds(executor, unit, begunAt);
  return { ...rounds, profile: async () => profileWebgpu(unit, await open()) };
}

function inChromium(name: ChromiumPeer, tfjs?: ChromiumPeer): Peer {
  return { name, tfjs, start: (unit) => startInChromium(name, unit) };
}

function folderOf(variable: string, file: string): string {
  const folder = process.env[variable];
  if (folder && existsSync(join(folder, file))) return folder;
  throw new PeerMissing(
    `set ${variable} to the folder that holds ${file} (it is ${folder ?? "not set"})`,
  );
}

function denoOrMissing(): string {
  const deno = findDeno();
  if (deno) return deno;
  throw new PeerMissing("Deno (npm package deno) and Mesa's lavapipe are needed");
}
