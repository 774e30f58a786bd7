import { afterAll, beforeAll, expect, it } from "vitest";
import { type Cluster, openCluster } from "../support/cluster.ts";

let cluster: Cluster;
let lines: string[];
beforeAll(async () => {
  cluster = await openCluster({ config: { maxSteps: 3 } });
  const volunteer = await cluster.join();
  volunteer.want(2);
  volunteer.serve();
  await cluster.coordinator.finished;
  const response = await fetch(`${cluster.coordinator.url}/metrics`);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  lines = (await response.text()).trimEnd().split("\n");
});
afterAll(() => cluster.close());

const sampleOf = (sample: string) => {
  const line = lines.find((text) => text.startsWith(`swarmvit_${sample} `));
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
};

it("counts what was done", () => {
  expect(sampleOf("steps_total")).toBe(3);
  expect(sampleOf("samples_total")).toBe(24);
  expect(sampleOf("run_step")).toBe(3);
  expect(sampleOf("step_seconds_count")).toBe(3);
  expect(sampleOf('step_seconds_bucket{le="+Inf"}')).toBe(3);
  expect(sampleOf("step_seconds_sum")).toBeGreaterThan(0);
  expect(sampleOf("run_bytes_in_total")).toBeGreaterThan(3 * 4 * cluster.table.parameterCount);
  expect(sampleOf("loss")).toBeGreaterThan(0);
  expect(sampleOf('refusals_total{code="MALFORMED"}')).toBe(0);
  for (const kind of ["rss", "heapUsed", "external", "arrayBuffers"])
    expect(sampleOf(`memory_bytes{kind="${kind}"}`)).toBeGreaterThan(0);
  for (const quantile of ["0.5", "0.99", "1"])
    expect(sampleOf(`event_loop_delay_seconds{quantile="${quantile}"}`)).toBeGreaterThanOrEqual(0);
});

it("is Prometheus' text format: each family with help and type before its samples", () => {
  const families = new Set<string>();
  for (const line of lines) {
    const [, help] = line.match(/^# HELP (\w+) \S.*$/) ?? [];
    const [, type] = line.match(/^# TYPE (\w+) (?:counter|gauge|histogram)$/) ?? [];
    if (help) continue;
    if (type) {
      expect(families.has(type)).toBe(false);
      families.add(type);
      continue;
    }
    const [, name] = line.match(/^(\w+)(?:\{(?:\w+="[^"]*",?)+\})? \S+$/) ?? [];
    expect([line, name !== undefined]).toEqual([line, true]);
    const family = name.replace(/_(bucket|sum|count)$/, "");
    expect(families.has(family) || families.has(name)).toBe(true);
  }
  expect(families.size).toBeGreaterThan(10);
});
