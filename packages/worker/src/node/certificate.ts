/** Whether a coordinator's certificate is one that nobody has signed but itself. */

import { request } from "node:https";

/** OpenSSL's words for "self-signed", and no other fault: an expired or foreign certificate stays an error. */
const SELF_SIGNED = ["DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN"];
const PATIENCE_MS = 10_000;

/** Asks an https origin. False for plain http, for a valid certificate, and where nobody answers. */
export function isSelfSigned(origin: string): Promise<boolean> {
  if (!origin.startsWith("https:")) return Promise.resolve(false);
  return new Promise((resolve) => {
    const asked = request(
      new URL("/healthz", origin),
      { method: "HEAD", agent: false, timeout: PATIENCE_MS },
      (response) => {
        response.resume();
        resolve(false);
      },
    );
    asked.once("timeout", () => asked.destroy());
    asked.once("error", (error: NodeJS.ErrnoException) => {
      resolve(SELF_SIGNED.includes(error.code ?? ""));
    });
    asked.end();
  });
}
