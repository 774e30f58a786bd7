import { mkdtempSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Two cores: more forks than that only make each other slow.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    env: {
      // What volunteers remember of this machine: of this run of the tests only.
      XDG_CACHE_HOME: mkdtempSync(join(tmpdir(), "swarmvit-cache-")),
      // Mesa's compiled kernels stay where they are: compiling them anew takes seconds.
      MESA_SHADER_CACHE_DIR: process.env.MESA_SHADER_CACHE_DIR ?? join(homedir(), ".cache"),
    },
    reporters: ["default"],
  },
});
