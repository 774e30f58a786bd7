/**
 * A peer in a process of its own. It writes one line `{"description", "firstMs"}` (and "counts", and
 * "profiles" if it can) when its first unit is done, and then, for every line "go" that it reads, the
 * milliseconds of one more unit; for "profile", where the time goes; for "memory", what it holds.
 */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Profile } from "@swarmvit/worker/bench/profile";
import { NO_COUNTS, type UnitCounts } from "@swarmvit/worker/bench/unit";
import { PeerMissing, type ProcessMemory, type RunningPeer } from "./peer.ts";

interface Hello {
  readonly description: string;
  readonly firstMs: number;
  readonly counts?: UnitCounts;
  readonly profiles?: boolean;
}

export interface PeerCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the process and waits for its first unit. */
export function openPeerProcess({ command, args, env = {} }: PeerCommand): Promise<RunningPeer> {
  return talkTo(spawn(command, [...args], { env: { ...process.env, ...env } }));
}

/** The same for a process that was just started, its standard streams being pipes. */
export async function talkTo(child: ChildProcessWithoutNullStreams): Promise<RunningPeer> {
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-2000);
  });
  const ended = new Promise<never>((_, reject) => {
    child.once("error", (cause) => reject(new PeerMissing(cause.message, { cause })));
    child.once("close", (code) =>
      reject(new Error(`the peer ended with ${code}: ${errors.trim() || "it said nothing"}`)),
    );
  });
  ended.catch(() => {}); // it ends after `close`, too
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => (await Promise.race([lines.next(), ended])).value as string;
  const answer = async (): Promise<unknown> => {
    // libraries may write what they like; the peer's own lines are JSON
    for (;;) {
      const line = await nextLine();
      if (line === undefined) return ended;
      try {
        return JSON.parse(line);
      } catch {}
    }
  };
  const hello = (await answer()) as Hello | { missing: string };
  if ("missing" in hello) throw new PeerMissing(hello.missing);
  const ask = async (line: string) => {
    child.stdin.write(`${line}\n`);
    return answer();
  };
  const { description, firstMs, counts = NO_COUNTS, profiles } = hello;
  return {
    ...{ description, firstMs, counts },
    round: async () => (await ask("go")) as number,
    ...(profiles && {
      profile: async () => (await ask("profile")) as Profile,
      memory: async () => (await ask("memory")) as ProcessMemory,
    }),
    async close() {
      child.stdin.end();
      await ended.catch(() => {});
    },
  };
}
