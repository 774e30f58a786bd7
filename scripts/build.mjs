// Builds what runs from built files: the WASM kernels and the pages. Skips what is up to date.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run } from "./install.mjs";

const PAGE_SOURCES = [
  "packages/shared/src",
  "packages/worker",
  "packages/dashboard",
  "vite.config.ts",
  "package-lock.json",
];

if (existsSync(join(ROOT, "scripts/build-wasm.mjs")))
  run(process.execPath, ["scripts/build-wasm.mjs"]);
buildPages();

function buildPages() {
  const stamp = join(ROOT, "dist/pages.stamp");
  const hash = createHash("sha256");
  for (const source of PAGE_SOURCES) hashTree(hash, join(ROOT, source));
  const digest = hash.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return;
  console.error("Building the pages (vite) …");
  run(process.execPath, [
    join(ROOT, "node_modules/vite/bin/vite.js"),
    "build",
    "--logLevel",
    "error",
  ]);
  mkdirSync(join(ROOT, "dist"), { recursive: true });
  writeFileSync(stamp, digest);
}

function hashTree(hash, path) {
  if (!existsSync(path)) return;
  let entries;
  try {
    entries = readdirSync(path, { withFileTypes: true });
  } catch {
    hash.update(path.slice(ROOT.length)).update(readFileSync(path)); // a file
    return;
  }
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name === "node_modules") continue;
    const child = join(path, entry.name);
    if (entry.isDirectory()) hashTree(hash, child);
    else hash.update(child.slice(ROOT.length)).update(readFileSync(child));
  }
}
