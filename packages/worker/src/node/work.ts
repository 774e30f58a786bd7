/** A volunteer without a browser: `swarmvit work URL`, and the coordinator's `--local-workers`. */

import type { BackendName } from "../client/compute-port.ts";
import { parseJoinLink } from "../client/join-link.ts";
import { inventName } from "../client/names.ts";
import { problemOf } from "../client/problems.ts";
import { openSession, type Session } from "../client/session.ts";
import {
  type Ending,
  stateWord,
  type VolunteerEvent,
  type VolunteerState,
} from "../client/volunteer-state.ts";
import { isSelfSigned } from "./certificate.ts";
import { openNodeThread } from "./open-node-thread.ts";

export interface WorkOptions {
  /** The join link; its fragment holds the token. */
  readonly url: string;
  readonly backend?: BackendName;
  /** Percent of the time to compute. */
  readonly throttle?: number;
  readonly name?: string;
  /**
   * True takes any certificate, false none but a valid one; by default a self-signed one is taken
   * and said, as a person in a browser would.
   */
  readonly insecureTls?: boolean;
  /** One line for people. */
  readonly log: (line: string) => void;
  /** Aborted: hands its leases back and leaves. */
  readonly signal?: AbortSignal;
}

/** A failed attempt to connect is said this often at most. */
const SAY_AGAIN_MS = 15_000;

/**
 * Volunteers until the run is finished (`finished`), the signal is aborted (`left`) or something
 * keeps this device from taking part (`problem`). Errors only where the link is none.
 */
export async function runVolunteer(options: WorkOptions): Promise<Ending> {
  const { log, signal } = options;
  const { origin, token } = parseJoinLink(options.url);
  const insecureTls = options.insecureTls ?? (await isSelfSigned(origin));
  if (insecureTls && origin.startsWith("https:"))
    log(
      "The coordinator's certificate is self-signed: it is taken without a check. The link is encrypted, but nobody vouches for who is at the other end.",
    );
  let saidAt = Number.NEGATIVE_INFINITY;
  const tell = narrator(log);
  const session: Session = openSession({
    origin,
    token,
    build: "node",
    name: options.name ?? inventName(Math.random()),
    backend: options.backend ?? "auto",
    throttle: options.throttle ?? 100,
    insecureTls,
    openThread: () => openNodeThread({ insecureTls }),
    onState: tell,
    onConnectError(error) {
      const now = performance.now();
      if (now - saidAt < SAY_AGAIN_MS) return;
      saidAt = now;
      log(`No answer from ${origin} (${reasonOf(error)}); trying again`);
    },
    onOutdated: () =>
      log(
        "This volunteer and the coordinator are of different versions: update this copy of swarmvit (git pull, npm install) and start it again.",
      ),
  });
  const leave = () => session.leave();
  if (signal?.aborted) leave();
  signal?.addEventListener("abort", leave, { once: true });
  try {
    return await session.done;
  } finally {
    signal?.removeEventListener("abort", leave);
  }
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
  if (ending.reason === "finished") return `The run is finished. ${total}`;
  if (ending.reason === "left") return `Left. ${total}`;
  const { title, explanation, advice } = problemOf(ending.problem);
  return `${title}. ${explanation} ${advice} (${ending.problem}: ${ending.detail})`;
}

function reasonOf(error: Error & { description?: unknown }): string {
  const cause = error.description ?? error.cause;
  const inner = cause instanceof Error ? cause : (cause as { error?: Error } | undefined)?.error;
  return inner?.message ?? error.message;
}
