/** Keeps a phone's screen on while it computes: with the screen off its browser stops. */

/** Follows `wanted`: takes the lock when told to, again after the page was hidden, and lets it go. */
export function createWakeLock(): { want(wanted: boolean): void } {
  let wanted = false;
  let lock: WakeLockSentinel | undefined;
  const follow = async () => {
    if (!wanted || document.hidden) {
      const held = lock;
      lock = undefined;
      await held?.release();
      return;
    }
    if (lock && !lock.released) return;
    try {
      lock = await navigator.wakeLock.request("screen");
    } catch {
      // Refused (battery saver) or missing (insecure link): the screen then goes off as usual.
    }
  };
  document.addEventListener("visibilitychange", () => void follow());
  return {
    want(now) {
      if (now === wanted) return;
      wanted = now;
      void follow();
    },
  };
}
