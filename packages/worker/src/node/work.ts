/** A volunteer without a browser: `swarmvit work URL`, and the coordinator's `--local-workers`. */

import type { BackendName } from "../client/compute-port.ts";
import { parseJoinLink } from "../client/join-link.ts";
import { inventName } from "../client/names.ts";
import { type ProblemId, problemOf } from "../client/problems.ts";
import { openSession, type Session } from "../client/session.ts";
import {
  type Ending,
  stateWord,
  type VolunteerEvent,
  type VolunteerState,
} from "../client/volunteer-state.ts";
import { isSelfSigned } from "./certificate.ts";
import { openNodeThread } from "./open-node-thread.ts";
import { UnmaskedWebSocket } from "./unmasked-socket.ts";

export interface WorkOptions {
  /** The join link; its fragment holds the token. */
  readonly url: string;
  readonly backend?: BackendName;
  /** Percent of the time to compute. */
  readonly throttle?: number;
  readonly name?: string;
  /** Takes any certificate, such as the self-signed one of `--https`. */
  readonly insecureTls?: boolean;
  /** Threads that one executor may use. */
  readonly threads?: number;
  /** Only what a person has to know: problems and the end. */
  readonly quiet?: boolean;
  /** One line for people. */
  readonly log: (line: string) => void;
  /** Aborted: hands its leases back and leaves. */
  readonly signal?: AbortSignal;
}

/** How it ended. `interrupted`: the signal was aborted. */
export type WorkEnd =
  | { readonly kind: "finished" }
  | { readonly kind: "interrupted" }
  /** Something keeps this device from taking part; the message says what to do. */
  | { readonly kind: "problem"; readonly problem: ProblemId; readonly message: string };

/** A failed attempt to connect is said this often at most. */
const SAY_AGAIN_MS = 15_000;

/** Volunteers until the run is over, the signal is aborted, or this device cannot. Errors only where the link is none. */
export async function runVolunteer(options: WorkOptions): Promise<WorkEnd> {
  const { signal } = options;
  const { origin, token } = parseJoinLink(options.url);
  const insecureTls = Boolean(options.insecureTls) && origin.startsWith("https:");
  const log = options.quiet ? () => {} : options.log;
  if (insecureTls)
    log("Any certificate is taken: the link is encrypted, but nobody vouches for its other end.");
  else if (await isSelfSigned(origin)) return problemEnd("self-signed", origin);
  let saidAt = Number.NEGATIVE_INFINITY;
  const session: Session = openSession({
    origin,
    token,
    build: "node",
    name: options.name ?? inventName(Math.random()),
    backend: options.backend ?? "auto",
    throttle: options.throttle ?? 100,
    insecureTls,
    transport: UnmaskedWebSocket,
    openThread: () => openNodeThread({ insecureTls, threads: options.threads }),
    onState: narrator(log),
    onConnectError(error) {
      const now = performance.now();
      if (now - saidAt < SAY_AGAIN_MS) return;
      saidAt = now;
      options.log(`No answer from ${origin} (${reasonOf(error)}); trying again`);
    },
  });
  const leave = () => session.leave();
  if (signal?.aborted) leave();
  signal?.addEventListener("abort", leave, { once: true });
  try {
    const ending = await session.done;
    if (ending.reason === "problem") return problemEnd(ending.problem, ending.detail);
    return { kind: ending.reason === "left" ? "interrupted" : "finished" };
  } finally {
    signal?.removeEventListener("abort", leave);
  }
}

function problemEnd(problem: ProblemId, detail: string): WorkEnd {
  const { title, explanation, advice } = problemOf(problem, "node");
  const message = `${title}. ${explanation} ${advice} (${problem}: ${detail})`;
  return { kind: "problem", problem, message };
}

/** Turns changes of state into few lines: what changed, and each answered lease. */
function narrator(log: (line: string) => void) {
  let word = "";
  return (state: VolunteerState, event: VolunteerEvent): void => {
    if (event.type === "welcome") {
      const { run, volunteer } = event.welcome;
      log(
        `Joined ${run.name} as ${volunteer.name}: ${run.model} on ${run.dataset}, ${run.classes.length} classes`,
      );
    }
    if (event.type === "device" && event.wrong) {
      const { title, advice } = problemOf("gpu-failed-self-test", "node");
      log(`${title}. ${advice} (${event.wrong})`);
    }
    if (event.type === "verdict") {
      const { accepted, code, message, samples, contributions } = event.verdict;
      const speed = `${state.imagesPerSecond.toFixed(1)} images/s`;
      if (accepted) log(`Contribution ${contributions} accepted (${samples} images, ${speed})`);
      else log(`Contribution refused: ${code}${message ? `, ${message}` : ""}`);
    }
    if (event.type === "failed") log(`Lease ${event.lease} handed back: ${event.detail}`);
    if (event.type === "notice") log(event.notice.message);
    if (event.type === "turned-away") log(`Turned away: ${event.refusal.message}`);
    if (state.ended) {
      log(endingLine(state.ended, state));
      return;
    }
    const now = calm(stateWord(state));
    if (now !== word) log(now);
    word = now;
  };
}

/** Computing, sending and waiting alternate many times a minute: one word for all three. */
function calm(word: string): string {
  return ["Computing", "Sending", "Downloading model", "Waiting for others"].includes(word)
    ? "At work"
    : word;
}

function endingLine(ending: Ending, state: VolunteerState): string {
  const { samples, accepted, late, refused } = state.contribution;
  const total = `${accepted} contributions accepted, ${late} late, ${refused} refused, ${samples} images`;
  return ending.reason === "finished" ? `The run is finished: ${total}` : `Left: ${total}`;
}

function reasonOf(error: Error & { description?: unknown }): string {
  const cause = error.description ?? error.cause;
  const inner = cause instanceof Error ? cause : (cause as { error?: Error } | undefined)?.error;
  return inner?.message ?? error.message;
}
