/**
 * Lets so many through in each turn of the event loop: a crowd that comes at once is served over many
 * turns, and what everybody else needs is done between them.
 */

export interface Turnstile {
  /** Does the task now, or in one of the next turns; always in the order of the calls. */
  pass(task: () => void): void;
}

/** Opens a turnstile for `perTurn` tasks a turn. */
export function openTurnstile(perTurn: number): Turnstile {
  const waiting: (() => void)[] = [];
  let passed = 0;
  let counting = false;
  const count = () => {
    passed++;
    if (counting) return;
    counting = true;
    setImmediate(nextTurn);
  };
  const nextTurn = () => {
    counting = false;
    passed = 0;
    for (const task of waiting.splice(0, perTurn)) {
      count();
      task();
    }
  };
  return {
    pass(task) {
      if (waiting.length > 0 || passed >= perTurn) return void waiting.push(task);
      count();
      task();
    },
  };
}
