/** Node's compute thread: the engine blocks it for whole units while the socket's thread keeps its heartbeat. */

import { setMaxListeners } from "node:events";
import { totalmem } from "node:os";
import { type MessagePort, workerData } from "node:worker_threads";
import { crc32 } from "node:zlib";
import type { Endpoint } from "comlink";
import { findDevice } from "../client/executor-choice.ts";
import { openNodeChoices } from "../engine/choice-store-node.ts";
import { loadModuleFromDisk } from "../engine/wasm/modules-node.ts";
import { decodeInNode } from "../input/decode-node.ts";
import { openDawn } from "../node/dawn.ts";
import { exposeCompute } from "./remote-compute.ts";

// Each image of a unit may wait for its shard by the lease's one signal. Node takes 11 for a leak.
setMaxListeners(4096);

const { port, threads } = workerData as { port: MessagePort; threads?: number };
const choices = openNodeChoices();

exposeCompute(
  {
    decode: decodeInNode,
    checksum: crc32,
    platform: `node ${process.versions.node}`,
    memoryBytes: Math.min(2 ** 30, Math.floor(totalmem() / 4)),
    findDevice: (backend) =>
      findDevice(backend, {
        ...{ kind: "node", loadModule: loadModuleFromDisk, threads, choices },
        openGpu: openDawn,
      }),
  },
  // Node's port is an EventTarget as comlink needs it; only its type says otherwise.
  port as unknown as Endpoint,
);
