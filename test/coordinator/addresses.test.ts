/** What one address may use, and whose address it is behind a proxy. */

import { afterEach, describe, expect, it } from "vitest";
import {
  ADMISSION_DEFAULTS,
  openAdmission,
} from "../../packages/coordinator/src/server/admission.ts";
import { clientAddress } from "../../packages/coordinator/src/server/client-address.ts";
import { type Cluster, HELLO, openCluster } from "../support/cluster.ts";

let cluster: Cluster | undefined;
afterEach(() => cluster?.close());

const request = (remoteAddress: string, forwarded?: string) => ({
  socket: { remoteAddress },
  headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded },
});
const networkOf = (remote: string, forwarded?: string, hops = 0) =>
  clientAddress(request(remote, forwarded), hops).network;

describe("an address", () => {
  it("is the peer's, and of IPv6 the /64", () => {
    expect(networkOf("192.0.2.7")).toBe("192.0.2.7");
    expect(networkOf("::ffff:192.0.2.7")).toBe("192.0.2.7");
    expect(networkOf("2001:db8:1:2:3:4:5:6")).toBe(networkOf("2001:db8:1:2::9"));
    expect(networkOf("2001:db8:1:3::9")).not.toBe(networkOf("2001:db8:1:2::9"));
  });

  it("is what the host's own proxies say, and nothing that the stranger wrote before them", () => {
    expect(networkOf("10.0.0.1", "203.0.113.5")).toBe("10.0.0.1");
    expect(networkOf("10.0.0.1", "203.0.113.5", 1)).toBe("203.0.113.5");
    expect(networkOf("10.0.0.1", "1.1.1.1, 2.2.2.2, 203.0.113.5", 1)).toBe("203.0.113.5");
    expect(networkOf("10.0.0.1", "1.1.1.1, 203.0.113.5, 10.0.0.2", 2)).toBe("203.0.113.5");
  });

  it("is this machine's own only without a proxy between", () => {
    expect(clientAddress(request("127.0.0.1"), 0).isLocal).toBe(true);
    expect(clientAddress(request("::1"), 1).isLocal).toBe(true);
    expect(clientAddress(request("127.0.0.1", "203.0.113.5"), 0).isLocal).toBe(false);
    expect(clientAddress(request("127.0.0.1", "127.0.0.1"), 1).isLocal).toBe(false);
  });

  it("cannot be changed by a header where no proxy is trusted", () => {
    const lines: string[] = [];
    const limits = { ...ADMISSION_DEFAULTS, joinBurst: 3, joinsPerSecond: 0 };
    const admission = openAdmission(limits, (line) => lines.push(line));
    const joins = Array.from({ length: 9 }, (_, i) =>
      admission.accountOf(request("203.0.113.5", `1.1.1.${i}`)).take("join", 1),
    );
    expect(joins.filter(Boolean)).toHaveLength(3);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("--trust-proxy");
  });

  it("is forgotten when idle, but never while it holds a socket", () => {
    const admission = openAdmission({ ...ADMISSION_DEFAULTS, socketsPerAddress: 1 }, () => {});
    const close = admission.opened(request("203.0.113.5"));
    for (let i = 0; i < 30_000; i++)
      admission.accountOf(request(`198.${i >> 16}.${(i >> 8) & 255}.${i & 255}`));
    expect(admission.overfull(request("203.0.113.5"))).toBe("ADDRESS");
    close();
    expect(admission.overfull(request("203.0.113.5"))).toBeUndefined();
    expect(admission.sockets).toBe(0);
  });
});

describe("a classroom behind one address", () => {
  it("of thirty devices joins, reloads and reconnects all at once within the defaults", async () => {
    cluster = await openCluster({ options: { limits: { trustProxy: 1 } } });
    const { url } = cluster.coordinator;
    const headers = { "x-forwarded-for": "203.0.113.5" };
    for (let time = 0; time < 3; time++) {
      const sockets = await Promise.all(
        Array.from({ length: 30 }, async () => {
          const socket = cluster!.connect(undefined, headers);
          const answer = await socket.timeout(20_000).emitWithAck("hello", HELLO);
          expect(answer).toMatchObject({ ok: true });
          return socket;
        }),
      );
      // A page is a dozen files.
      const files = Array.from({ length: 30 * 12 }, () => fetch(`${url}/healthz`, { headers }));
      for (const { status } of await Promise.all(files)) expect(status).toBe(200);
      for (const socket of sockets) socket.disconnect();
    }
    expect(cluster.lines.filter((line) => line.startsWith("refused"))).toEqual([]);
  });

  it("does not keep another address out when it has too many", async () => {
    cluster = await openCluster({ options: { limits: { trustProxy: 1, socketsPerAddress: 2 } } });
    const connect = (address: string) =>
      new Promise<boolean>((resolve) => {
        const socket = cluster!.connect(undefined, { "x-forwarded-for": address });
        socket.once("connect", () => resolve(true));
        socket.once("connect_error", () => resolve(false));
      });
    const greedy = [await connect("203.0.113.5"), await connect("203.0.113.5")];
    // What the stranger writes before the proxy's own entry changes nothing.
    greedy.push(await connect("203.0.113.5"), await connect("192.0.2.9, 203.0.113.5"));
    expect(greedy).toEqual([true, true, false, false]);
    expect(await connect("192.0.2.9")).toBe(true);
  });
});
