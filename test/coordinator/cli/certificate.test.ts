import { X509Certificate } from "node:crypto";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { createServer, get } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  readCertificate,
  selfSignedCertificate,
} from "../../../packages/coordinator/src/cli/certificate.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "swarmvit-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const now = new Date();

test("is made for every address, kept, and made again for a new address or near its end", async () => {
  const first = await selfSignedCertificate(directory, ["192.168.1.20"], now);
  const certificate = new X509Certificate(first.cert);
  for (const address of ["192.168.1.20", "127.0.0.1"])
    expect(certificate.checkIP(address)).toBe(address);
  expect(certificate.checkHost("localhost")).toBe("localhost");
  expect(first.fresh).toBe(true);
  expect((await stat(join(directory, "key.pem"))).mode & 0o077).toBe(0);

  const again = await selfSignedCertificate(directory, ["192.168.1.20"], now);
  expect(again).toEqual({ ...first, fresh: false });
  const moved = await selfSignedCertificate(directory, ["10.0.0.7"], now);
  expect(moved.fresh).toBe(true);
  const later = new Date(now.getTime() + 395 * 86_400_000);
  expect((await selfSignedCertificate(directory, ["10.0.0.7"], later)).fresh).toBe(true);
});

test("serves: a client that trusts it connects", async () => {
  const { cert, key } = await selfSignedCertificate(directory, [], now);
  const server = createServer({ cert, key }, (_, response) => response.end("hello"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const body = await new Promise<string>((resolve, reject) => {
      get({ host: "127.0.0.1", port, ca: cert }, (response) => {
        response.setEncoding("utf8").on("data", resolve);
      }).on("error", reject);
    });
    expect(body).toBe("hello");
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

test("files that cannot be read or are none are named", async () => {
  const missing = join(directory, "missing.pem");
  await expect(readCertificate(missing, missing)).rejects.toThrow(/missing\.pem: cannot be read/);
  const rubbish = join(directory, "rubbish.pem");
  await writeFile(rubbish, "rubbish");
  await expect(readCertificate(rubbish, rubbish)).rejects.toThrow(
    /rubbish\.pem: a certificate in PEM/,
  );
});
