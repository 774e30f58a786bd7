// Installs and builds what is missing or out of date, so that `npm start` and `npm test` work on a
// fresh clone. Plain Node: it runs before any dependency is there.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Runs a command in the repository, its output on stderr; ends this process when it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
    ...options,
  });
  if (error) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/** Node is new enough, dependencies are those of the lockfile, pages and kernels are built. */
export function installAndBuild() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    console.error(`Node 20.19 or newer is needed (this is ${process.versions.node}).`);
    process.exit(1);
  }
  // npm writes this file at the end of an install: older than the lockfile means out of date.
  const installed = `${ROOT}/node_modules/.package-lock.json`;
  const lock = `${ROOT}/package-lock.json`;
  if (!existsSync(installed) || !sameLock(lock, installed)) {
    console.error("Installing dependencies (npm install) …");
    // Not `npm ci`: it refuses a lockfile that lacks another platform's optional package, and not
    // every registry has all of them. With --no-save the versions are the lockfile's all the same.
    run("npm", ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]);
  }
  run(process.execPath, ["scripts/build.mjs"]);
}

/** Same packages in the same versions; cheap enough for every start. */
function sameLock(lock, installed) {
  if (statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return true;
  const packages = (file) => JSON.parse(readFileSync(file, "utf8")).packages;
  const have = packages(installed);
  return Object.entries(packages(lock)).every(
    ([name, { version, optional, link }]) =>
      name === "" ||
      optional ||
      link ||
      !name.startsWith("node_modules/") ||
      have[name]?.version === version,
  );
}
