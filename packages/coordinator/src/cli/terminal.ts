/** Writes a run to the terminal: results to stdout, everything else to stderr (DESIGN section 6). */

import { clearLine, cursorTo } from "node:readline";
import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import pc from "picocolors";
import { renderEvaluation, renderStatus, renderStep } from "./progress.ts";

export interface Terminal {
  /** To stdout: what a person or a script wants to keep. */
  print(text: string): void;
  /** To stderr: a line of what happens. */
  log(line: string): void;
  progress(what: string, done: number, total: number): void;
  progressDone(): void;
  status(state: RunState): void;
  record(record: MetricRecord, totalSteps: number): void;
  close(): void;
}

/** Without a TTY, steps are printed at most this often. */
const PLAIN_INTERVAL_MS = 5_000;

export function openTerminal(stream: NodeJS.WriteStream = process.stderr): Terminal {
  const live = Boolean(stream.isTTY) && !process.env.CI;
  let liveLine = "";
  let lastPlain = 0;
  const erase = () => {
    if (!live || liveLine === "") return;
    cursorTo(stream, 0);
    clearLine(stream, 0);
  };
  const draw = (line: string) => {
    if (!live) return;
    erase();
    liveLine = line;
    stream.write(line);
  };
  const log = (line: string) => {
    erase();
    stream.write(`${line}\n`);
    if (live && liveLine !== "") stream.write(liveLine);
  };
  return {
    print(text) {
      erase();
      process.stdout.write(`${text}\n`);
      if (live && liveLine !== "") stream.write(liveLine);
    },
    log,
    progress(what, done, total) {
      if (live) draw(`${what} ${done}/${total}`);
      else if (Date.now() - lastPlain > PLAIN_INTERVAL_MS) {
        lastPlain = Date.now();
        log(`${what} ${done}/${total}`);
      }
    },
    progressDone() {
      erase();
      liveLine = "";
    },
    status(state) {
      draw(renderStatus(state, stream.columns ?? 100));
    },
    record(record, totalSteps) {
      if (record.kind === "eval") log(renderEvaluation(record));
      else if (record.kind === "event")
        log(pc.dim(`${record.what}${record.detail ? `: ${record.detail}` : ""}`));
      else if (record.kind === "worker")
        log(pc.dim(`${record.name} ${record.what}${record.detail ? `: ${record.detail}` : ""}`));
      else if (!live && Date.now() - lastPlain > PLAIN_INTERVAL_MS) {
        lastPlain = Date.now();
        log(renderStep(record, totalSteps));
      }
    },
    close() {
      erase();
      liveLine = "";
    },
  };
}
