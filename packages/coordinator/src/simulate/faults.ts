/** What may go wrong in a simulation: probabilities for each lease, and times for the coordinator. */

export interface Faults {
  /** The device is many times slower for this lease. */
  readonly slow: number;
  /** The line drops before the answer is sent, while it is sent, or right after; it comes back. */
  readonly dropBefore: number;
  readonly dropDuring: number;
  readonly dropAfter: number;
  /** The answer is never sent. */
  readonly lose: number;
  /** The answer is sent twice. */
  readonly duplicate: number;
  /** The answer comes a minute late. */
  readonly late: number;
  /** A message overtakes others. */
  readonly reorder: number;
  /** One bit of the frame is damaged on the way. */
  readonly corrupt: number;
  /** The device stands still for a while, its line up. */
  readonly freeze: number;
  readonly abandon: number;
  readonly pause: number;
  /** The device is gone without a word. */
  readonly vanish: number;
  readonly leave: number;
  /** Of volunteers that mean harm: a value that is not finite, nothing but zeros, an old frame. */
  readonly nan: number;
  readonly zero: number;
  readonly replay: number;
  /** Mean milliseconds between crashes of the coordinator; 0: never. */
  readonly crashEveryMs: number;
  /** Mean milliseconds between times at which the disk is full; 0: never. */
  readonly diskFullEveryMs: number;
}

export const NO_FAULTS: Faults = {
  slow: 0,
  dropBefore: 0,
  dropDuring: 0,
  dropAfter: 0,
  lose: 0,
  duplicate: 0,
  late: 0,
  reorder: 0,
  corrupt: 0,
  freeze: 0,
  abandon: 0,
  pause: 0,
  vanish: 0,
  leave: 0,
  nan: 0,
  zero: 0,
  replay: 0,
  crashEveryMs: 0,
  diskFullEveryMs: 0,
};
