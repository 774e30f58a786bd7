import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const ROOT = fileURLToPath(new URL(".", import.meta.url));

/** Page in the output → its source. The coordinator serves them at /, /dashboard … */
const PAGES: Readonly<Record<string, string>> = {
  "index.html": "packages/worker/index.html",
  "dashboard.html": "packages/dashboard/dashboard.html",
  "bench.html": "packages/worker/bench.html",
};

/** What the build id is the hash of: everything that can end up in a tab. */
const SOURCES = ["packages/shared", "packages/worker", "packages/dashboard"];

const TFJS_WASM = dirname(
  createRequire(join(ROOT, "packages/worker/package.json")).resolve(
    "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm",
  ),
);
/** TF.js looks for its binaries by name in one folder; the threaded one is never used. */
const TFJS_BINARIES = ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm"];
const TFJS_FOLDER = `assets/tfjs-${packageVersion(join(TFJS_WASM, "../package.json"))}`;

const BUILD_ID = buildId();

export default defineConfig({
  root: ROOT,
  publicDir: false,
  define: {
    __BUILD_ID__: JSON.stringify(BUILD_ID),
    __TFJS_WASM_PATH__: JSON.stringify(`/${TFJS_FOLDER}/`),
  },
  build: {
    outDir: join(ROOT, "dist/pages"),
    emptyOutDir: true,
    target: "es2022",
    // Data URLs would be one more thing for the content security policy to allow.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2_000, // TF.js is one chunk, loaded by the compute thread alone
    rollupOptions: { input: Object.values(PAGES).map((source) => join(ROOT, source)) },
  },
  worker: { format: "es" },
  plugins: [tfjsBinaries(), pagesAtTop()],
});

/** Copies TF.js's WASM binaries, so that the page fetches them from its own origin. */
function tfjsBinaries(): Plugin {
  return {
    name: "tfjs-binaries",
    generateBundle() {
      for (const name of TFJS_BINARIES)
        this.emitFile({
          type: "asset",
          fileName: `${TFJS_FOLDER}/${name}`,
          source: readFileSync(join(TFJS_WASM, name)),
        });
    },
  };
}

/** Moves the pages from their sources' paths to the top of the output, and says which build they are. */
function pagesAtTop(): Plugin {
  let output = "";
  return {
    name: "pages-at-top",
    configResolved({ root, build }) {
      output = resolve(root, build.outDir);
    },
    closeBundle() {
      for (const [page, source] of Object.entries(PAGES))
        if (existsSync(join(output, source))) renameSync(join(output, source), join(output, page));
      rmSync(join(output, "packages"), { recursive: true, force: true });
      writeFileSync(join(output, "build.json"), `${JSON.stringify({ build: BUILD_ID })}\n`);
    },
  };
}

/** The same sources and libraries give the same id on every machine. */
function buildId(): string {
  const hash = createHash("sha256");
  const files = SOURCES.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(tsx?|css|html)$/.test(name) && !name.includes("node_modules"))
      .map((name) => join(folder, name).replaceAll("\\", "/")),
  );
  for (const file of [...files.sort(), "package-lock.json", "vite.config.ts"])
    hash.update(`${file}\0`).update(readFileSync(join(ROOT, file)));
  return hash.digest("hex").slice(0, 12);
}

function packageVersion(file: string): string {
  return JSON.parse(readFileSync(file, "utf8")).version;
}
