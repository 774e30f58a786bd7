import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createChoiceStore } from "@swarmvit/worker/engine/choice-store";
import { choicesFile, openNodeChoices } from "@swarmvit/worker/engine/choice-store-node";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "swarmvit-choices-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

it("remembers across openings, beside what others wrote", async () => {
  const file = join(folder, "deeper", "choices.json");
  const first = openNodeChoices(file);
  expect(await first.get("adapter")).toBeUndefined();
  await first.set("adapter", "webgpu");
  await openNodeChoices(file).set("another", "wasm");
  const later = openNodeChoices(file);
  expect([await later.get("adapter"), await later.get("another")]).toEqual(["webgpu", "wasm"]);
  expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({
    choices: { adapter: "webgpu", another: "wasm" },
  });
});

it("forgets what another version measured", async () => {
  const file = join(folder, "choices.json");
  await openNodeChoices(file, "old").set("adapter", "webgpu");
  expect(await openNodeChoices(file, "new").get("adapter")).toBeUndefined();
  await openNodeChoices(file, "new").set("another", "wasm");
  expect(await openNodeChoices(file, "old").get("adapter")).toBeUndefined();
  expect(await openNodeChoices(file, "new").get("another")).toBe("wasm");
});

it("takes a damaged file for an empty one, and lives without a folder", async () => {
  const file = join(folder, "choices.json");
  await writeFile(file, "{half");
  const store = openNodeChoices(file);
  expect(await store.get("adapter")).toBeUndefined();
  await store.set("adapter", "wasm");
  expect(await openNodeChoices(file).get("adapter")).toBe("wasm");

  const blocked = openNodeChoices(join(file, "below a file", "choices.json"));
  await blocked.set("adapter", "webgpu");
  expect(await blocked.get("adapter")).toBe("webgpu");
});

it("lies where the user's caches are", () => {
  vi.stubEnv("XDG_CACHE_HOME", folder);
  expect(choicesFile()).toBe(join(folder, "swarmvit", "choices.json"));
});

it("needs no disk at all", async () => {
  const store = createChoiceStore();
  await store.set("a", "b");
  expect([await store.get("a"), await store.get("b")]).toEqual(["b", undefined]);
});
