/**
 * Compiles the AssemblyScript kernels into the `build/` beside their `assembly/`. Takes a few seconds;
 * does nothing where the outputs are those of the present sources.
 *
 * Of the engine there are three builds: `kernels` (one thread), `kernels-threads` (shared memory) and
 * `kernels-relaxed` (relaxed SIMD, shared memory not; faster on some processors, with other last bits).
 * The coordinator's `vectors` are for its long sums.
 */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import asc from "assemblyscript/asc";

const PACKAGES = fileURLToPath(new URL("../packages/", import.meta.url));

const COMMON = [
  "-O3",
  "--noAssert",
  "--runtime",
  "stub",
  "--importMemory",
  "--noExportMemory",
  "--initialMemory",
  "1",
  "--maximumMemory",
  "65536",
  "--enable",
  "simd",
];
const PARTS = [
  {
    directory: join(PACKAGES, "worker/src/engine/wasm"),
    entry: "run.ts",
    builds: {
      kernels: [],
      "kernels-threads": ["--enable", "threads", "--sharedMemory"],
      "kernels-relaxed": ["--enable", "relaxed-simd"],
    },
  },
  {
    directory: join(PACKAGES, "coordinator/src/vectors"),
    entry: "index.ts",
    builds: { vectors: [] },
  },
];

/** Builds what is out of date; `force` builds all. Returns the names of what was built. */
export async function buildWasm({ force = false } = {}) {
  const built = [];
  for (const part of PARTS) built.push(...(await buildPart(part, force)));
  return built;
}

async function buildPart({ directory, entry, builds }, force) {
  const sourceDirectory = join(directory, "assembly");
  const output = join(directory, "build");
  const sources = (await readdir(sourceDirectory)).filter((name) => name.endsWith(".ts")).sort();
  const hash = createHash("sha256").update(asc.version);
  for (const name of sources) hash.update(name).update(await readFile(join(sourceDirectory, name)));
  hash.update(await readFile(fileURLToPath(import.meta.url)));
  const stamp = hash.digest("hex");
  const before = await readFile(join(output, "stamp"), "utf8").catch(() => "");
  if (before === stamp && !force) return [];
  await mkdir(output, { recursive: true });
  for (const [name, flags] of Object.entries(builds)) {
    const { error, stderr } = await asc.main(
      [entry, "--baseDir", sourceDirectory, "--outFile", "out.wasm", ...COMMON, ...flags],
      {
        readFile: (path, base) => readFile(join(base, path), "utf8").catch(() => null),
        writeFile: (_path, contents) => place(join(output, `${name}.wasm`), contents),
        listFiles: () => [],
      },
    );
    if (error) throw new Error(`${name}.wasm did not compile: ${error.message}\n${stderr}`);
  }
  await place(join(output, "stamp"), stamp);
  return Object.keys(builds);
}

/** Appears at once, so that two builds side by side do no harm. */
async function place(path, contents) {
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, contents);
  await rename(temporary, path);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const started = performance.now();
  const names = await buildWasm({ force: process.argv.includes("--force") });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.error(names.length ? `built ${names.join(", ")} in ${seconds} s` : "wasm is up to date");
}
