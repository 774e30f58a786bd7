/** What a figure was measured on, in one line. */

import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";

/** Processor, versions, commit, date, and how busy the machine was when it began. */
export function machineLine(): string {
  const processors = cpus();
  const [load] = loadavg();
  return [
    `${processors.length} x ${processors[0]?.model.trim() ?? "unknown processor"}`,
    `Node ${process.versions.node}`,
    `commit ${commit()}`,
    new Date().toISOString().slice(0, 16).replace("T", " "),
    `load ${load.toFixed(1)}`,
  ].join(" · ");
}

function commit(): string {
  try {
    const args = ["rev-parse", "--short", "HEAD"];
    return execFileSync("git", args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "unknown";
  }
}
