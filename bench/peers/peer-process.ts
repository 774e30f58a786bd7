/**
 * A peer in a process of its own. It writes one line `{"description", "firstMs"}` when its first
 * unit is done, and then, for every line it reads, the milliseconds of one more unit.
 */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { PeerMissing, type RunningPeer } from "./peer.ts";

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
  const hello = (await answer()) as { description: string; firstMs: number } | { missing: string };
  if ("missing" in hello) throw new PeerMissing(hello.missing);
  return {
    ...hello,
    async round() {
      child.stdin.write("go\n");
      return (await answer()) as number;
    },
    async close() {
      child.stdin.end();
      await ended.catch(() => {});
    },
  };
}
