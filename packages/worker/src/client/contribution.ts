/** What a volunteer has given: counted from the coordinator's verdicts, honest about the rest. */

import type { Verdict } from "@swarmvit/shared/protocol";

export interface Contribution {
  /** Accepted training images of this volunteer, by the coordinator's count. */
  readonly samples: number;
  readonly accepted: number;
  /** Good work that came too late: somebody else's was faster, or the step was over. */
  readonly late: number;
  readonly refused: number;
}

export const NO_CONTRIBUTION: Contribution = { samples: 0, accepted: 0, late: 0, refused: 0 };

const LATE_CODES: readonly string[] = ["EXPIRED", "DUPLICATE", "STALE", "LEASE"];

/** The contribution after a verdict, or after an upload was refused before it was whole. */
export function addVerdict(
  contribution: Contribution,
  verdict: Pick<Verdict, "accepted"> & { readonly code?: string; readonly samples?: number },
): Contribution {
  // The coordinator's own total: right even if a verdict was lost on the way.
  const samples = verdict.samples ?? contribution.samples;
  if (verdict.accepted) return { ...contribution, samples, accepted: contribution.accepted + 1 };
  if (LATE_CODES.includes(verdict.code ?? ""))
    return { ...contribution, samples, late: contribution.late + 1 };
  return { ...contribution, samples, refused: contribution.refused + 1 };
}

/** `a` and `b` together: earlier visits and this one. */
export function addContributions(a: Contribution, b: Contribution): Contribution {
  return {
    samples: a.samples + b.samples,
    accepted: a.accepted + b.accepted,
    late: a.late + b.late,
    refused: a.refused + b.refused,
  };
}

/** Where a page keeps contributions over reloads: `localStorage`, or anything like it. */
export interface KeyValue {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Earlier contributions to a run, zero where nothing (or nothing sensible) is kept. */
export function loadContribution(storage: KeyValue, run: string): Contribution {
  try {
    const kept: unknown = JSON.parse(storage.getItem(storageKey(run)) ?? "null");
    if (typeof kept !== "object" || kept === null) return NO_CONTRIBUTION;
    const count = (key: keyof Contribution) => {
      const value = (kept as Record<string, unknown>)[key];
      return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
    };
    return {
      samples: count("samples"),
      accepted: count("accepted"),
      late: count("late"),
      refused: count("refused"),
    };
  } catch {
    return NO_CONTRIBUTION; // storage is blocked, or the text is no JSON
  }
}

/** Keeps the contributions to a run; in silence where storage is blocked or full. */
export function saveContribution(storage: KeyValue, run: string, total: Contribution): void {
  try {
    storage.setItem(storageKey(run), JSON.stringify(total));
  } catch {
    // Private windows have no storage: the totals then last as long as the page.
  }
}

function storageKey(run: string): string {
  return `swarmvit.contribution.${run}`;
}
