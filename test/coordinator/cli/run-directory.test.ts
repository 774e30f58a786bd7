import { mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  existingRunDirectory,
  newRunDirectory,
} from "../../../packages/coordinator/src/cli/run-directory.ts";

let runs: string;
beforeEach(async () => {
  runs = await mkdtemp(join(tmpdir(), "swarmvit-"));
});
afterEach(() => rm(runs, { recursive: true, force: true }));

test("a new run takes the next free name", async () => {
  expect((await newRunDirectory(runs)).name).toBe("run-1");
  expect((await newRunDirectory(runs)).name).toBe("run-2");
  expect((await newRunDirectory(runs, "mine")).path).toBe(join(runs, "mine"));
});

test("a taken name is an error that names both choices", async () => {
  await newRunDirectory(runs, "mine");
  await expect(newRunDirectory(runs, "mine")).rejects.toThrow(
    /add --resume .* or choose another --name/,
  );
});

test("resume finds the run by name, else the latest", async () => {
  for (const [name, at] of [
    ["old", 1000],
    ["new", 2000],
    ["older", 500],
  ] as const) {
    await mkdir(join(runs, name));
    await writeFile(join(runs, name, "config.yaml"), `name: ${name}\n`);
    await utimes(join(runs, name, "config.yaml"), at, at);
  }
  expect((await existingRunDirectory(runs)).name).toBe("new");
  expect((await existingRunDirectory(runs, "older")).config).toBe("name: older\n");
  await expect(existingRunDirectory(runs, "absent")).rejects.toThrow(/is not a run/);
  await expect(existingRunDirectory(join(runs, "nowhere"))).rejects.toThrow(/no run to resume/);
});
