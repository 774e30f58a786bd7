/** A rate limit: `burst` at once, then `perSecond`. Time is passed in, in milliseconds. */
export interface TokenBucket {
  /** True and one token less, or false. */
  take(nowMs: number): boolean;
}

/** Opens a full bucket. */
export function openTokenBucket(perSecond: number, burst: number): TokenBucket {
  let tokens = burst;
  let filledAt: number | undefined;
  return {
    take(nowMs) {
      const elapsedMs = filledAt === undefined ? 0 : Math.max(0, nowMs - filledAt);
      filledAt = nowMs;
      tokens = Math.min(burst, tokens + (elapsedMs / 1000) * perSecond);
      if (tokens < 1) return false;
      tokens--;
      return true;
    },
  };
}
