/** What people are told, and the small pure parts around it. */

import {
  addContributions,
  addVerdict,
  loadContribution,
  NO_CONTRIBUTION,
  saveContribution,
} from "@swarmvit/worker/client/contribution";
import { candidates } from "@swarmvit/worker/client/executor-choice";
import { parseJoinLink } from "@swarmvit/worker/client/join-link";
import { inventName } from "@swarmvit/worker/client/names";
import {
  gpuProblem,
  problemDetails,
  problemOf,
  type Surroundings,
} from "@swarmvit/worker/client/problems";
import { clampThrottle, restMs } from "@swarmvit/worker/client/throttle";
import { platformName } from "@swarmvit/worker/thread/platform-name";
import { expect, test } from "vitest";

const CHROME_ANDROID =
  "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36";
const FIREFOX_LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";
const SAFARI_IPHONE =
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
const EDGE_WINDOWS =
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0";

const fine: Surroundings = {
  secure: true,
  webgpu: true,
  adapter: "hardware",
  userAgent: CHROME_ANDROID,
};

test("an insecure link is blamed on the link, not on the browser", () => {
  // Exactly what a phone at http://192.168… sees: no navigator.gpu either.
  const phone = gpuProblem({ ...fine, secure: false, webgpu: false, adapter: "none" });
  expect(phone?.id).toBe("insecure-link");
  expect(phone?.advice).toMatch(/--https/);
  expect(phone?.severity).toBe("notice");
  expect(gpuProblem(fine)).toBeUndefined();
});

test.each([
  [SAFARI_IPHONE, /iOS or iPadOS 26/],
  [CHROME_ANDROID, /Chrome 121/],
  [FIREFOX_LINUX, /use Chrome 144/],
  [EDGE_WINDOWS, /Edge 113/],
])("a browser without WebGPU is told which one has it: %s", (userAgent, advice) => {
  const problem = gpuProblem({ ...fine, webgpu: false, adapter: "none", userAgent });
  expect(problem?.id).toBe("no-webgpu");
  expect(problem?.advice).toMatch(advice);
});

test("a missing adapter gets the exact flags on Linux, a software one goes on", () => {
  const linux = gpuProblem({ ...fine, adapter: "none", userAgent: FIREFOX_LINUX });
  expect(linux?.advice).toMatch(/--enable-unsafe-webgpu/);
  const windows = gpuProblem({ ...fine, adapter: "none", userAgent: EDGE_WINDOWS });
  expect(windows?.advice).toMatch(/graphics acceleration/);
  expect(gpuProblem({ ...fine, adapter: "software" })?.id).toBe("software-gpu");
});

test("details name the problem and leave out what is not known", () => {
  const text = problemDetails(problemOf("device-lost"), { step: 12, device: undefined });
  expect(text).toMatch(/^problem: device-lost/);
  expect(text).toMatch(/step: 12/);
  expect(text).not.toMatch(/device:/);
});

test("the throttle rests in proportion, within bounds", () => {
  expect(restMs(300, 100)).toBe(0);
  expect(restMs(300, 50)).toBe(300);
  expect(restMs(300, 25)).toBe(900);
  expect(restMs(60_000, 10)).toBe(10_000);
  expect([-5, 55.4, 400, Number.NaN].map(clampThrottle)).toEqual([10, 55, 100, 100]);
});

test("auto takes a real GPU first and never a software one", () => {
  expect(candidates("auto", true)[0]).toBe("webgpu");
  expect(candidates("auto", false)).toEqual(["wasm", "tfjs-wasm"]);
  expect(candidates("tfjs-cpu", true)).toEqual(["tfjs-cpu"]);
  expect(candidates("wasm-relaxed", true)).toEqual(["wasm-relaxed"]);
});

test("contributions add up over visits and survive nonsense in the storage", () => {
  const kept = new Map<string, string>();
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  };
  const first = addVerdict(NO_CONTRIBUTION, { accepted: true, samples: 16 });
  saveContribution(storage, "r", first);
  const late = addVerdict(NO_CONTRIBUTION, { accepted: false, code: "DUPLICATE" });
  expect(addContributions(loadContribution(storage, "r"), late)).toEqual({
    ...{ samples: 16, accepted: 1, late: 1, refused: 0 },
  });
  expect(loadContribution(storage, "another run")).toEqual(NO_CONTRIBUTION);
  for (const key of kept.keys()) kept.set(key, '{"samples":-3,"accepted":"many"');
  expect(loadContribution(storage, "r")).toEqual(NO_CONTRIBUTION);
});

test("a join link gives its origin and the token of its fragment", () => {
  expect(parseJoinLink("https://10.0.0.2:8080/#aB3%2F")).toEqual({
    origin: "https://10.0.0.2:8080",
    token: "aB3/",
  });
  expect(parseJoinLink("localhost:8080")).toEqual({
    origin: "http://localhost:8080",
    token: undefined,
  });
  expect(() => parseJoinLink("ftp://x")).toThrow(/join link/);
  expect(() => parseJoinLink("http://")).toThrow(/join link/);
});

test("names and browsers are short and tell nothing else", () => {
  expect(inventName(0)).toBe("Amber Badger");
  expect(inventName(0.999999)).toBe("Violet Wombat");
  expect(platformName(EDGE_WINDOWS)).toBe("Edge 141 on Windows");
  expect(platformName(CHROME_ANDROID)).toBe("Chrome 141 on Android");
  expect(platformName(SAFARI_IPHONE)).toBe("Safari 18 on iOS");
  expect(platformName("curl/8")).toBe("a browser");
});
