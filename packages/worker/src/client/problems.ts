/** What can go wrong on a device, in words: what happened, why, and what the person can do. */

import type { Abandon } from "@swarmvit/shared/protocol";

export type ProblemId =
  | "insecure-link"
  | "no-webgpu"
  | "no-adapter"
  | "software-gpu"
  | "too-small"
  | "out-of-memory"
  | "device-lost"
  | "wrong-numbers"
  | "self-test"
  | "gpu-failed-self-test"
  | "download"
  | "no-backend"
  | "outdated"
  | "self-signed"
  | "join-token"
  | "removed"
  | "unreachable"
  | "error";

export interface Problem {
  readonly id: ProblemId;
  readonly title: string;
  readonly explanation: string;
  /** What the person at the device can do. */
  readonly advice: string;
  /** `notice`: it goes on, slower. `stop`: this device cannot take part as it is. */
  readonly severity: "notice" | "stop";
}

/** What a page finds out about its browser before anything heavy starts. */
export interface Surroundings {
  /** `isSecureContext`: https or localhost. */
  readonly secure: boolean;
  /** `navigator.gpu` exists. */
  readonly webgpu: boolean;
  /** What `requestAdapter` gave; `unknown` before it was asked. */
  readonly adapter: "hardware" | "software" | "none" | "unknown";
  readonly userAgent: string;
}

/** The problem behind an id, worded for this browser ("node" without one). */
export function problemOf(id: ProblemId, userAgent = ""): Problem {
  const { severity = "stop", ...words } = WORDS[id];
  return { id, ...words, advice: adviceFor(id, userAgent) ?? words.advice, severity };
}

/** Why this browser will not compute on a GPU, or `undefined` where it can. All of these still train, on the processor. */
export function gpuProblem(surroundings: Surroundings): Problem | undefined {
  const { secure, webgpu, adapter, userAgent } = surroundings;
  // An insecure page has no navigator.gpu whatever the browser: blame the link, not the browser.
  if (!secure) return problemOf("insecure-link", userAgent);
  if (!webgpu) return problemOf("no-webgpu", userAgent);
  if (adapter === "none") return problemOf("no-adapter", userAgent);
  if (adapter === "software") return problemOf("software-gpu", userAgent);
  return undefined;
}

/** The problem behind leases that were handed back for this reason, again and again. */
export function problemOfFailure(reason: Abandon["reason"]): ProblemId {
  switch (reason) {
    case "non-finite":
      return "wrong-numbers";
    case "out-of-memory":
      return "out-of-memory";
    case "device-lost":
      return "device-lost";
    case "weights":
      return "download";
    default:
      return "error";
  }
}

/** Everything that helps another person to help, as plain text to be copied. Holds no token. */
export function problemDetails(
  problem: Problem,
  facts: Readonly<Record<string, string | number | undefined>>,
): string {
  const lines = Object.entries(facts)
    .filter(([, value]) => value !== undefined && value !== "")
    .map(([key, value]) => `${key}: ${value}`);
  return [`problem: ${problem.id} (${problem.title})`, ...lines].join("\n");
}

interface Words {
  readonly title: string;
  readonly explanation: string;
  readonly advice: string;
  readonly severity?: "notice";
}

const WORDS: Readonly<Record<ProblemId, Words>> = {
  "insecure-link": {
    title: "This link is not secure, so the browser hides the GPU",
    explanation:
      "Browsers give the GPU only to pages on https or on the host's own computer. This device computes on its processor instead, which is slower.",
    advice:
      "Ask the host to start with --https, or open this page on the host's own computer (localhost).",
    severity: "notice",
  },
  "no-webgpu": {
    title: "This browser can't compute on the GPU yet",
    explanation:
      "The page needs WebGPU to use the GPU. This device computes on its processor instead, which is slower.",
    advice: "Use a current Chrome, Edge, Firefox or Safari.",
    severity: "notice",
  },
  "no-adapter": {
    title: "No usable GPU was found",
    explanation:
      "The browser knows WebGPU but offers no GPU; remote desktops and virtual machines often have none. This device computes on its processor instead.",
    advice:
      "Turn on “Use graphics acceleration” in the browser's settings (System), then restart it.",
    severity: "notice",
  },
  "software-gpu": {
    title: "Only a software GPU is available",
    explanation:
      "The browser imitates a GPU on the processor. The processor is used directly instead, which is faster.",
    advice:
      "If this device has a GPU, turn on “Use graphics acceleration” in the browser's settings (System), then restart it.",
    severity: "notice",
  },
  "too-small": {
    title: "This device is too small for the model",
    explanation: "The smallest piece of work of this run needs more memory than the device offers.",
    advice:
      "Thank you for trying. The host can make pieces smaller with a lower --unit-size or --scales.",
  },
  "out-of-memory": {
    title: "The device ran out of memory",
    explanation: "Several pieces of work in a row did not fit. They were handed back.",
    advice: "Close other tabs and programs, then try again; or try ?backend=wasm.",
  },
  "device-lost": {
    title: "The GPU was reset several times",
    explanation:
      "The browser or the driver took the GPU away while it computed. The work was handed back.",
    advice:
      "Update the graphics driver and the browser, check that the device is not too hot, lower the power slider, then try again.",
  },
  "wrong-numbers": {
    title: "This device computes wrong numbers",
    explanation:
      "Several results in a row were not finite numbers, so nothing was sent. It is nearly always the graphics driver.",
    advice: "Update the graphics driver and the browser, or try again with ?backend=wasm.",
  },
  "self-test": {
    title: "This device fails its self-test",
    explanation:
      "Before taking part it computes a small piece with a known answer, and the answer was wrong. It is nearly always the graphics driver.",
    advice:
      "Update the graphics driver and the browser, or compute on the processor: ?backend=wasm in a page, --backend wasm for a volunteer without a browser.",
  },
  "gpu-failed-self-test": {
    title: "The GPU computes wrong numbers and is not used",
    explanation:
      "It gave a wrong answer to a small piece with a known one. This device computes on its processor instead, which is slower.",
    advice: "Update the graphics driver and the browser, then reload this page.",
    severity: "notice",
  },
  download: {
    title: "Can't download the work",
    explanation:
      "Images or weights could not be fetched, or were not what the coordinator announced.",
    advice:
      "Check the network connection, then try again. A proxy that alters files also does this.",
  },
  "no-backend": {
    title: "The chosen backend does not work here",
    explanation: "The device was asked to compute in a way that it cannot.",
    advice: "Try again with backend “auto”.",
  },
  outdated: {
    title: "This page and the coordinator are of different versions",
    explanation: "They would not understand each other's messages.",
    advice: "Reload the page. If that does not help, empty the browser's cache for this site.",
  },
  "self-signed": {
    title: "The coordinator's certificate is self-signed",
    explanation: "The link is encrypted, but nobody vouches for who is at its other end.",
    advice: "If the link came from somebody you trust, add --insecure.",
  },
  "join-token": {
    title: "This link is not valid any more",
    explanation:
      "The host protects the run with a token, and the one in this link is wrong or missing.",
    advice: "Ask the host for a new link, and open all of it: the part after # matters.",
  },
  removed: {
    title: "The host has removed this device",
    explanation: "The run does not want work from this device.",
    advice: "Ask the host if you think this is a mistake.",
  },
  unreachable: {
    title: "The coordinator can't be reached",
    explanation: "There is no answer at this address.",
    advice: "Check the address and the network, and that the coordinator is running.",
  },
  error: {
    title: "Something went wrong on this device",
    explanation: "Several pieces of work failed for a reason that has no better name.",
    advice: "Try again. If it happens again, copy the details and send them to the host.",
  },
};

const LINUX_FLAGS =
  "On Linux start Chrome with --enable-unsafe-webgpu --enable-features=Vulkan, and turn on “Use graphics acceleration” in its settings (System).";

function adviceFor(id: ProblemId, userAgent: string): string | undefined {
  if (id === "no-webgpu") return browserAdvice(userAgent);
  if (id === "no-adapter" && isLinux(userAgent)) return LINUX_FLAGS;
  if (id === "gpu-failed-self-test" && userAgent === "node")
    return "Update the graphics driver, then start this volunteer again.";
  if (id === "outdated" && userAgent === "node")
    return "Update this copy of swarmvit (git pull, npm install) and start it again.";
  return undefined;
}

/** Which browser has WebGPU on this system (as of April 2026, the GPU for the Web working group's list). */
function browserAdvice(userAgent: string): string {
  if (/iPhone|iPad/.test(userAgent))
    return "Update to iOS or iPadOS 26 or newer: all its browsers can.";
  if (/Android/.test(userAgent))
    return "Use Chrome 121 or newer on Android 12 or newer; Firefox for Android can't yet.";
  if (isLinux(userAgent))
    return /Firefox/.test(userAgent)
      ? "Firefox for Linux can't by default: use Chrome 144 or newer (Intel) or 147 or newer (NVIDIA)."
      : "Use Chrome 144 or newer (Intel) or 147 or newer (NVIDIA), or start it with --enable-unsafe-webgpu --enable-features=Vulkan.";
  if (/Macintosh/.test(userAgent))
    return "Use Chrome or Edge 113, Firefox 145 (Apple silicon) or Safari 26, or newer.";
  if (/Windows/.test(userAgent)) return "Use Chrome or Edge 113, or Firefox 141, or newer.";
  return WORDS["no-webgpu"].advice;
}

function isLinux(userAgent: string): boolean {
  return /Linux/.test(userAgent) && !/Android/.test(userAgent);
}
