/** The dashboard built for tests, into a folder of its own. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

/** Builds packages/dashboard as it is now; `remove` deletes the folder. */
export async function buildDashboard(): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "swarmvit-dashboard-"));
  const root = fileURLToPath(new URL("../../packages/dashboard", import.meta.url));
  await build({
    ...{ configFile: false, root, logLevel: "error" },
    build: {
      outDir: folder,
      assetsInlineLimit: 0,
      rollupOptions: { input: join(root, "dashboard.html") },
    },
  });
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
