/**
 * Compiles the engine's AssemblyScript kernels to packages/worker/src/engine/wasm/build/. Takes a few
 * seconds; does nothing where the outputs are those of the present sources.
 *
 * Three builds: `kernels` (one thread), `kernels-threads` (shared memory) and `kernels-relaxed`
 * (relaxed SIMD, shared memory not; faster on some processors, with other last bits).
 */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import asc from "assemblyscript/asc";

const ENGINE = fileURLToPath(new URL("../packages/worker/src/engine/wasm/", import.meta.url));
const SOURCES = join(ENGINE, "assembly");
const OUTPUT = join(ENGINE, "build");

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
const BUILDS = {
  kernels: [],
  "kernels-threads": ["--enable", "threads", "--sharedMemory"],
  "kernels-relaxed": ["--enable", "relaxed-simd"],
};

/** Builds what is out of date; `force` builds all. Returns the names of what was built. */
export async function buildWasm({ force = false } = {}) {
  const sources = (await readdir(SOURCES)).filter((name) => name.endsWith(".ts")).sort();
  const hash = createHash("sha256").update(asc.version);
  for (const name of sources) hash.update(name).update(await readFile(join(SOURCES, name)));
  hash.update(await readFile(fileURLToPath(import.meta.url)));
  const stamp = hash.digest("hex");
  const built = await readFile(join(OUTPUT, "stamp"), "utf8").catch(() => "");
  if (built === stamp && !force) return [];
  await mkdir(OUTPUT, { recursive: true });
  for (const [name, flags] of Object.entries(BUILDS)) {
    const { error, stderr } = await asc.main(
      ["run.ts", "--baseDir", SOURCES, "--outFile", "out.wasm", ...COMMON, ...flags],
      {
        readFile: (path, base) => readFile(join(base, path), "utf8").catch(() => null),
        writeFile: (_path, contents) => place(`${name}.wasm`, contents),
        listFiles: () => [],
      },
    );
    if (error) throw new Error(`${name}.wasm did not compile: ${error.message}\n${stderr}`);
  }
  await place("stamp", stamp);
  return Object.keys(BUILDS);
}

/** Appears at once, so that two builds side by side do no harm. */
async function place(name, contents) {
  const temporary = join(OUTPUT, `.${name}.${process.pid}`);
  await writeFile(temporary, contents);
  await rename(temporary, join(OUTPUT, name));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const started = performance.now();
  const names = await buildWasm({ force: process.argv.includes("--force") });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.error(names.length ? `built ${names.join(", ")} in ${seconds} s` : "wasm is up to date");
}
