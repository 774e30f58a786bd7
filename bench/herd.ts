/**
 * Sockets that all arrive at once, on a coordinator with four volunteers at work: how long the event
 * loop is held up while they come, and by what. Each round opens them from another process, with as
 * little work of its own as can be: a TCP connection, the upgrade, the namespace, a hello.
 *
 *   npx tsx bench/herd.ts [sockets] [rounds] [why]
 */

import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openCluster } from "../test/support/cluster.ts";
import { servePaced } from "../test/support/paced-volunteer.ts";
import { describeDelays, describeStall, watchStalls } from "./stalls.ts";

const SCRIPT = fileURLToPath(import.meta.url);
const [what = "700", ...given] = process.argv.slice(2);
if (what === "sockets") await comeAllAtOnce(given[0], Number(given[1]));
else if (what === "volunteers") await work(given[0]);
else await measure(Number(what), Number(given[0] ?? 5), given[1] === "why");

async function measure(sockets: number, rounds: number, why: boolean): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "swarmvit-herd-"));
  const cluster = await openCluster({
    directory,
    config: { epochs: 100_000, maxSteps: 100_000 },
    options: { limits: { helloMs: 120_000 } },
  });
  const { url } = cluster.coordinator;
  const start = (...args: string[]) => fork(SCRIPT, args, { execArgv: ["--import", "tsx"] });
  const volunteers = start("volunteers", url);
  while (cluster.coordinator.state().step < 3) await wait(100);
  const watch = await watchStalls(why);
  const round = async (name: string, during: () => Promise<void>) => {
    await watch.take();
    await during();
    const taken = await watch.take();
    console.log(`${name.padEnd(16)} ${describeDelays(taken)}`);
    for (const stall of taken.stalls.slice(0, 3)) console.log(`    ${describeStall(stall)}`);
  };
  await round("calm", () => wait(4000));
  for (let i = 0; i < rounds; i++) {
    const herd = start("sockets", url, String(sockets));
    const told = () => new Promise<unknown>((resolve) => herd.once("message", resolve));
    await told();
    await round(`${sockets} come`, async () => {
      herd.send("go");
      console.log(`    all there after ${await told()} ms`);
      await wait(1000);
    });
    await round("they go", async () => {
      herd.kill("SIGKILL");
      await wait(1500);
    });
  }
  volunteers.kill();
  await cluster.close();
  rmSync(directory, { recursive: true, force: true });
  process.exit();
}

async function work(url: string): Promise<void> {
  const { connectTo } = await import("../test/support/cluster.ts");
  const { parameterTable } = await import("@swarmvit/shared/parameters");
  const swarm = connectTo(url, parameterTable("xxs", 2));
  for (let i = 0; i < 4; i++) {
    const volunteer = await swarm.join();
    volunteer.want(1);
    void servePaced(volunteer, 100);
  }
}

/** Opens them when told to, and tells when all were welcomed. */
async function comeAllAtOnce(url: string, count: number): Promise<void> {
  const { port } = new URL(url);
  const { HELLO } = await import("../test/support/cluster.ts");
  const upgrade = [
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
    `Host: 127.0.0.1:${port}`,
    ...["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
    ...["Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==", "", ""],
  ].join("\r\n");
  const entering = frameOf("40/volunteer,");
  const hello = frameOf(`42/volunteer,0${JSON.stringify(["hello", HELLO])}`);
  process.send?.("ready");
  process.once("message", async () => {
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: count }, () => {
        const socket = connect(Number(port), "127.0.0.1");
        socket.write(upgrade);
        return welcomed(socket, entering, hello);
      }),
    );
    process.send?.(Math.round(performance.now() - startedAt));
  });
  process.on("disconnect", () => process.exit());
}

/** Enters the namespace, says hello, and resolves with the answer. */
function welcomed(socket: Socket, entering: Buffer, hello: Buffer): Promise<void> {
  let text = "";
  let said = 0;
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("data", (part) => {
      text += part.toString("latin1");
      if (said === 0 && text.includes('"sid"')) {
        said++;
        text = "";
        socket.write(entering);
      } else if (said === 1 && text.includes("40/volunteer")) {
        said++;
        socket.write(hello);
      } else if (said === 2 && text.includes("43/volunteer")) {
        said++;
        resolve();
      }
      if (text.length > 8192) text = text.slice(-64);
    });
  });
}

/** A text message of a client, under a mask of zeros. */
function frameOf(text: string): Buffer {
  const body = Buffer.from(text);
  const head =
    body.length < 126
      ? Buffer.from([0x81, 0x80 | body.length, 0, 0, 0, 0])
      : Buffer.from([0x81, 0x80 | 126, body.length >> 8, body.length & 255, 0, 0, 0, 0]);
  return Buffer.concat([head, body]);
}
