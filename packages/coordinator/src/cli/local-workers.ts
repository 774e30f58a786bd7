/** `--local-workers N`: volunteers on this machine, each a child process running `swarmvit work`. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface LocalWorkers {
  close(): Promise<void>;
}

/** A child that dies is started again, at most this often. */
const RESTARTS = 5;
const GRACE_MS = 5_000;

/** Starts `count` volunteers that join `url`; their lines go to `log`. */
export function startLocalWorkers(
  url: string,
  count: number,
  log: (line: string) => void,
): LocalWorkers {
  const executable = fileURLToPath(new URL("../../bin/swarmvit.mjs", import.meta.url));
  const children = new Set<ChildProcess>();
  let closing = false;

  const start = (n: number, restartsLeft: number) => {
    const child = spawn(
      process.execPath,
      [executable, "work", url, "--name", `local ${n}`, "--quiet"],
      // The self-signed certificate is our own: the child talks to this very process.
      {
        stdio: ["ignore", "ignore", "pipe"],
        env: { ...childEnvironment(), SWARMVIT_WORK_INSECURE: "1" },
      },
    );
    children.add(child);
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      for (const line of text.split("\n")) if (line.trim()) log(`local ${n}: ${line}`);
    });
    child.once("exit", (code, signal) => {
      children.delete(child);
      if (closing || code === 0) return;
      if (restartsLeft === 0) {
        log(`local ${n} ended (${signal ?? `code ${code}`}) ${RESTARTS} times: not started again`);
        return;
      }
      log(`local ${n} ended (${signal ?? `code ${code}`}): starting it again`);
      start(n, restartsLeft - 1);
    });
  };
  for (let n = 1; n <= count; n++) start(n, RESTARTS);

  return {
    async close() {
      closing = true;
      await Promise.all([...children].map(endChild));
    },
  };
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
  await ended;
  clearTimeout(timer);
}

/** Settings of this run are not the child's. */
function childEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("SWARMVIT_")),
  );
}
