/** Secrets compared so that the time tells nothing about how much of a guess was right. */

import { createHash, timingSafeEqual } from "node:crypto";

/** True when both are the same text; hashed first, because the comparison needs equal lengths. */
export function isSameSecret(given: string | undefined, secret: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return given !== undefined && timingSafeEqual(digest(given), digest(secret));
}
