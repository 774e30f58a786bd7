/** Deno with WebGPU on lavapipe: naga instead of Tint, and Mesa instead of SwiftShader. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export const LAVAPIPE = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";

/** The Deno binary that npm installed, where there is one and lavapipe can be loaded. */
export function findDeno(): string | undefined {
  if (!existsSync(LAVAPIPE)) return undefined;
  const name = `@deno/${process.platform}-${process.arch}-glibc`;
  try {
    const deno = createRequire(import.meta.url).resolve("deno/package.json");
    const binary = join(dirname(createRequire(deno).resolve(`${name}/package.json`)), "deno");
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

/** Runs an ES module's text on lavapipe with these arguments; what it printed to stdout. */
export async function runInDeno(code: string, args: readonly string[] = []): Promise<string> {
  const deno = findDeno();
  if (!deno) throw new Error("Deno or lavapipe is not installed; see findDeno");
  const folder = await mkdtemp(join(tmpdir(), "swarmvit-deno-"));
  try {
    const script = join(folder, "script.mjs");
    await writeFile(script, code);
    const child = spawn(
      deno,
      ["run", "-A", "--unstable-webgpu", "--v8-flags=--expose-gc", script, ...args],
      {
        env: { ...process.env, VK_ICD_FILENAMES: LAVAPIPE, NO_COLOR: "1" },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const [output, errors]: string[][] = [[], []];
    child.stdout.setEncoding("utf8").on("data", (text: string) => output.push(text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => errors.push(text));
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", resolve);
    });
    if (status !== 0) throw new Error(`Deno ended with ${status}: ${errors.join("")}`);
    return output.join("");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
