/**
 * The policy of who computes how much: pure, so that it can be judged and replaced on its own. Each
 * volunteer's share of the free units is such that all end together, as soon as whole units allow.
 */

export interface Worker {
  /** When it could begin, and send what it began: computing ends this much before the upload. */
  readonly readyAt: number;
  /** Milliseconds a unit of the step takes it, on average. */
  readonly unitMs: number;
}

export interface Shares {
  /** Units of each worker; together at least all, a few more where several would end equally. */
  readonly units: readonly number[];
  /** When the last one ends. */
  readonly endsAt: number;
}

/**
 * The least T at which Σ ⌊(T - ready) / unitMs⌋ covers the units: nobody is given a unit that it
 * would finish after the others could have.
 */
export function shareUnits(workers: readonly Worker[], units: number): Shares {
  if (workers.length === 0 || units <= 0) return { units: workers.map(() => 0), endsAt: 0 };
  // Counted from the first who is ready: Unix milliseconds leave too few bits for fractions of a unit.
  const base = workers.reduce((least, { readyAt }) => Math.min(least, readyAt), Number.MAX_VALUE);
  let low = 0;
  let high = Number.POSITIVE_INFINITY;
  let fastest = Number.POSITIVE_INFINITY;
  for (const { readyAt, unitMs } of workers) {
    high = Math.min(high, readyAt - base + units * unitMs);
    fastest = Math.min(fastest, unitMs);
  }
  const unitsBy = (after: number) => {
    let sum = 0;
    for (const { readyAt, unitMs } of workers) sum += unitsOf(after, readyAt - base, unitMs);
    return sum;
  };
  for (let i = 0; i < 40 && high - low > 1e-3 * fastest; i++) {
    const middle = (low + high) / 2;
    const sum = unitsBy(middle);
    if (sum >= units) high = middle;
    else low = middle;
    if (sum === units) break;
  }
  return {
    units: workers.map(({ readyAt, unitMs }) => unitsOf(high, readyAt - base, unitMs)),
    endsAt: base + high,
  };
}

/** The largest level of a node of at most so many units. */
export function levelOf(units: number): number {
  return Math.max(0, Math.floor(Math.log2(Math.max(1, units))));
}

function unitsOf(at: number, readyAt: number, unitMs: number): number {
  return at <= readyAt ? 0 : Math.floor((at - readyAt) / unitMs + 1e-6);
}
