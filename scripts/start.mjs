// `npm start [-- flags]`: install, build, and train with defaults for a laptop without a GPU.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { installAndBuild, ROOT } from "./install.mjs";

const given = process.argv.slice(2);
installAndBuild();

// One volunteer a core computes here until tabs join; beyond four they would fight over memory.
const workers = Math.min(4, availableParallelism());
const defaults = given.some((flag) => flag.startsWith("--local-workers"))
  ? []
  : ["--local-workers", String(workers)];
const child = spawn(
  process.execPath,
  [join(ROOT, "packages/coordinator/bin/swarmvit.mjs"), "train", ...defaults, ...given],
  { stdio: "inherit", cwd: process.env.INIT_CWD ?? ROOT },
);
// Ctrl-C reaches the child by itself: it saves, and its exit code is ours.
for (const signal of ["SIGINT", "SIGTERM"])
  process.on(signal, () => signal === "SIGTERM" && child.kill(signal));
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
