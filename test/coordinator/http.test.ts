import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, get } from "node:http";
import { get as getTls } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { RunState } from "@swarmvit/shared/run";
import { io } from "socket.io-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { selfSignedCertificate } from "../../packages/coordinator/src/cli/certificate.ts";
import { type Cluster, HELLO, openCluster } from "../support/cluster.ts";

let cluster: Cluster;
let url: string;

beforeAll(async () => {
  cluster = await openCluster();
  ({ url } = cluster.coordinator);
});
afterAll(() => cluster.close());

describe("HTTP", () => {
  it("serves weights by hash, immutable, with an ETag", async () => {
    const volunteer = await cluster.join();
    volunteer.want(1);
    const lease = await volunteer.nextLease();
    const response = await fetch(`${url}/weights/${lease.weights}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    expect(bytes.length).toBe(4 * cluster.table.parameterCount);
    expect(sha256(bytes)).toBe(lease.weights);
    expect(response.headers.get("cache-control")).toContain("immutable");
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    const etag = response.headers.get("etag")!;
    const cached = await fetch(response.url, { headers: { "if-none-match": etag } });
    expect(cached.status).toBe(304);
    volunteer.close();
  });

  it("serves shards by hash", async () => {
    const volunteer = await cluster.join();
    volunteer.want(1);
    const [shard] = (await volunteer.nextLease()).shards;
    const response = await fetch(`${url}/shards/${shard.sha256}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    expect([bytes.length, sha256(bytes)]).toEqual([shard.bytes, shard.sha256]);
    expect(response.headers.get("cache-control")).toContain("immutable");
    expect(response.headers.get("etag")).toBe(`"${shard.sha256}"`);
    volunteer.close();
  });

  it.each([
    `/shards/${"0".repeat(64)}`,
    `/weights/${"0".repeat(64)}`,
    "/shards/..%2f..%2frun%2frun.json",
    "/shards/%2e%2e/run/run.json",
    "/checkpoints/run.json",
    "/checkpoints/..%2frun.json",
    "/checkpoints/best.safetensors",
    "/run.json",
    "/no-such-page",
  ])("has nothing at %s, and lets nobody keep that", async (path) => {
    const response = await fetch(url + path);
    expect(response.status).toBe(404);
    expect(response.headers.get("cache-control")).toBe("no-store");
  });

  it("isolates pages and lets nothing foreign in", async () => {
    for (const path of ["/", "/api/run", "/no-such-page"]) {
      const { headers } = await fetch(url + path);
      expect(headers.get("cross-origin-opener-policy")).toBe("same-origin");
      expect(headers.get("cross-origin-embedder-policy")).toBe("require-corp");
      expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
      expect(headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(headers.get("x-powered-by")).toBeNull();
    }
  });

  it("tells the state, and the join link to this machine only", async () => {
    const state: RunState = await (await fetch(`${url}/api/run`)).json();
    expect(state).toMatchObject({ name: "test", phase: "waiting", step: 0, totalSteps: 3 });
    expect(state.joinUrl).toBe(`${url}/`);
    const { port } = cluster.coordinator;
    const rebound = await getJson(port, "/api/run", { host: "evil.example" });
    expect(rebound).toMatchObject({ name: "test" });
    expect(rebound).not.toHaveProperty("joinUrl");
  });

  it("pages the history and refuses a wrong cursor", async () => {
    const page = await (await fetch(`${url}/api/history?since=0`)).json();
    expect(page.records.length).toBeGreaterThan(0);
    const next = await (await fetch(`${url}/api/history?since=${page.cursor}`)).json();
    expect(next).toEqual({ cursor: page.cursor, records: [] });
    for (const since of ["-1", "x", "1.5"])
      expect((await fetch(`${url}/api/history?since=${since}`)).status).toBe(400);
  });

  it("is healthy, and takes no other methods", async () => {
    expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ ok: true });
    expect((await fetch(`${url}/api/run`, { method: "POST" })).status).toBe(405);
    expect((await fetch(`${url}/weights/%ff`)).status).toBe(400);
  });
});

describe("pages and ports", () => {
  it("serves built pages, hashed assets for ever, and takes the next port", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as AddressInfo;
    const pages = join(cluster.directory, "pages");
    mkdirSync(join(pages, "assets"), { recursive: true });
    writeFileSync(join(pages, "index.html"), "<title>join</title>");
    writeFileSync(join(pages, "dashboard.html"), "<title>dashboard</title>");
    writeFileSync(join(pages, "assets", "app-1234.js"), "export {};");
    const other = await openCluster({
      options: { pagesDirectory: pages, port, joinToken: "a-join-token" },
    });
    try {
      expect(other.coordinator.port).toBeGreaterThan(port);
      expect(other.lines.join()).toContain(`port ${port} is in use; listening on`);
      const base = other.coordinator.url;
      expect(await (await fetch(base)).text()).toContain("join");
      const dashboard = await fetch(`${base}/dashboard`);
      expect(await dashboard.text()).toContain("dashboard");
      expect(dashboard.headers.get("cache-control")).toBe("no-cache");
      const asset = await fetch(`${base}/assets/app-1234.js`);
      expect(asset.headers.get("cache-control")).toContain("immutable");
      expect(asset.headers.get("content-type")).toContain("javascript");
      expect(asset.headers.get("cross-origin-embedder-policy")).toBe("require-corp");
      expect(other.coordinator.state().joinUrl).toBe(`${base}/#a-join-token`);
      await expect(other.join()).rejects.toThrow(/JOIN_TOKEN/);
      await expect(other.join({ token: "a-join-tokem" })).rejects.toThrow(/JOIN_TOKEN/);
      expect((await other.join({ token: "a-join-token" })).welcome.ok).toBe(true);
    } finally {
      await other.close();
      taken.close();
    }
  });
});

describe("https", () => {
  it("serves pages and sockets with a certificate", async () => {
    const tls = await selfSignedCertificate(join(cluster.directory, "tls"), [], new Date());
    const other = await openCluster({ options: { tls } });
    try {
      const { url: secure } = other.coordinator;
      expect(secure).toMatch(/^https:/);
      const status = await new Promise((resolve, reject) => {
        const options = { rejectUnauthorized: false };
        getTls(`${secure}/healthz`, options, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).on("error", reject);
      });
      expect(status).toBe(200);
      const socket = io(`${secure}/volunteer`, {
        transports: ["websocket"],
        forceNew: true,
        rejectUnauthorized: false,
      });
      const welcome = await socket.timeout(10_000).emitWithAck("hello", HELLO);
      expect(welcome.ok).toBe(true);
      socket.disconnect();
    } finally {
      await other.close();
    }
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** `fetch` does not let the Host header be chosen. */
function getJson(port: number, path: string, headers: Record<string, string>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path, headers }, (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve(JSON.parse(text)));
    }).on("error", reject);
  });
}
