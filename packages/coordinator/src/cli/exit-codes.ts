/** Exit codes of the command line (DESIGN section 6) and the errors that choose them. */

import { ConfigError } from "@swarmvit/shared/config";
import { DataError } from "../datasets/data-error.ts";
import { PortError } from "../server/server.ts";

export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  data: 3,
  server: 4,
  interrupted: 130,
} as const;

/** The certificate cannot be read. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return EXIT.usage;
  if (error instanceof DataError) return EXIT.data;
  if (error instanceof PortError || error instanceof CertificateError) return EXIT.server;
  return EXIT.failed;
}
