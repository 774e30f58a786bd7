/** `swarmvit work URL`: a volunteer without a browser. */

import { ConfigError } from "@swarmvit/shared/config";
import type { BackendName } from "@swarmvit/worker/client/compute-port";
import { runVolunteer } from "@swarmvit/worker/node/work";
import { EXIT } from "./exit-codes.ts";

export interface WorkOptions {
  readonly backend: string;
  readonly throttle: string;
  readonly threads: string;
  readonly name?: string;
  readonly insecure?: boolean;
  readonly quiet?: boolean;
}

/** Computes until the run is over or Ctrl-C (once: hands the work back; twice: at once). */
export async function work(url: string, options: WorkOptions): Promise<number> {
  const throttle = wholeNumber("--throttle", options.throttle, 10, 100);
  const threads = wholeNumber("--threads", options.threads, 1, 64);
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new ConfigError("url", `a link like http://host:8080/#token was expected (got "${url}")`);
  const stop = new AbortController();
  const interrupt = () => {
    if (stop.signal.aborted) process.exit(EXIT.interrupted);
    stop.abort(new Error("interrupted"));
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  const log = (line: string) => process.stderr.write(`${line}\n`);
  const reason = await runVolunteer({
    url,
    backend: options.backend as BackendName,
    throttle,
    threads,
    name: options.name,
    insecureTls: Boolean(options.insecure) || process.env.SWARMVIT_WORK_INSECURE === "1",
    quiet: Boolean(options.quiet),
    log,
    signal: stop.signal,
  });
  if (reason.kind === "finished") return EXIT.done;
  if (reason.kind === "interrupted") return EXIT.interrupted;
  log(reason.message);
  return EXIT.failed;
}

function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max)
    throw new ConfigError(
      flag,
      `${flag}: a whole number from ${min} to ${max} was expected (got "${text}")`,
    );
  return value;
}
