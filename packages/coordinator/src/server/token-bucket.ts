/** A rate limit: `burst` at once, then `perSecond`. Time is passed in, in milliseconds. */
export interface TokenBucket {
  /** True and so many tokens less (one, unless said), or false. */
  take(nowMs: number, tokens?: number): boolean;
}

/** Opens a full bucket. */
export function openTokenBucket(perSecond: number, burst: number): TokenBucket {
  let left = burst;
  let filledAt: number | undefined;
  return {
    take(nowMs, tokens = 1) {
      const elapsedMs = filledAt === undefined ? 0 : Math.max(0, nowMs - filledAt);
      filledAt = nowMs;
      left = Math.min(burst, left + (elapsedMs / 1000) * perSecond);
      if (left < tokens) return false;
      left -= tokens;
      return true;
    },
  };
}
