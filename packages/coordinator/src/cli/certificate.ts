/**
 * The certificate of `--https`: self-signed for every address of this machine, made once and kept,
 * so that a phone that accepted it is not asked again.
 */

import { X509Certificate } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generate } from "selfsigned";
import { CertificateError } from "./exit-codes.ts";

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 86_400_000;
/** Browsers refuse certificates of more than 398 days. */
const VALID_DAYS = 397;

/** Reads the PEM files that `--cert` and `--key` name. Throws `CertificateError`. */
export async function readCertificate(certFile: string, keyFile: string): Promise<Certificate> {
  const read = async (file: string) => {
    try {
      return await readFile(file, "utf8");
    } catch (error) {
      throw new CertificateError(`${file}: cannot be read (${(error as Error).message})`);
    }
  };
  const certificate = { cert: await read(certFile), key: await read(keyFile) };
  try {
    new X509Certificate(certificate.cert);
  } catch {
    throw new CertificateError(`${certFile}: a certificate in PEM was expected`);
  }
  return certificate;
}

/** The kept certificate when it still covers `addresses` for a week, else a new one. */
export async function selfSignedCertificate(
  directory: string,
  addresses: readonly string[],
  now: Date,
): Promise<Certificate & { readonly fresh: boolean }> {
  const [certFile, keyFile] = [join(directory, "cert.pem"), join(directory, "key.pem")];
  const kept = await readFile(certFile, "utf8")
    .then(async (cert) => ({ cert, key: await readFile(keyFile, "utf8") }))
    .catch(() => undefined);
  if (kept && covers(kept.cert, addresses, now)) return { ...kept, fresh: false };
  const pems = await generate([{ name: "commonName", value: "swarmvit" }], {
    keySize: 2048,
    algorithm: "sha256",
    notBeforeDate: new Date(now.getTime() - DAY_MS),
    notAfterDate: new Date(now.getTime() + VALID_DAYS * DAY_MS),
    extensions: [
      { name: "basicConstraints", cA: false },
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          ...["127.0.0.1", ...addresses].map((ip) => ({ type: 7 as const, ip })),
        ],
      },
    ],
  });
  await mkdir(directory, { recursive: true });
  await writeFile(certFile, pems.cert);
  await writeFile(keyFile, pems.private, { mode: 0o600 });
  await chmod(keyFile, 0o600);
  return { cert: pems.cert, key: pems.private, fresh: true };
}

function covers(pem: string, addresses: readonly string[], now: Date): boolean {
  try {
    const certificate = new X509Certificate(pem);
    const weekAhead = now.getTime() + 7 * DAY_MS;
    return (
      Date.parse(certificate.validTo) > weekAhead &&
      addresses.every((address) => certificate.checkIP(address) !== undefined)
    );
  } catch {
    return false;
  }
}
