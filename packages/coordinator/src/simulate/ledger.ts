/**
 * An account of a run that is kept beside the core, from its events and effects alone, and checks
 * after each what must always be true: steps commit once and in order, each unit is counted once
 * and only from whom it was leased to, the weight is the planned samples, replay gives the same
 * weights. It shares no state with the core.
 */

import type { Planner, Unit } from "@swarmvit/shared/planner";
import type { Lease } from "@swarmvit/shared/protocol";
import { type Node, nodeKey } from "@swarmvit/shared/tree";
import type { CoreEvent, Effect } from "../core/messages.ts";

export interface LedgerContext {
  readonly planner: Planner;
  readonly unitCount: number;
  /** Published parameters after a step, where they are known beforehand. */
  reference?(commits: number): string | undefined;
  isHonest(volunteer: string): boolean;
  struck(): number;
  violate(what: string): void;
}

export interface Ledger {
  before(event: CoreEvent): void;
  after(effects: readonly Effect[]): void;
  /** The coordinator is gone, and starts again after so many steps. */
  restarted(step: number): void;
  /** Checks what can only be said of the whole run. */
  finish(): void;
  /** Steps committed, and leases that gave a unit again. */
  readonly commits: number;
  readonly leases: number;
  readonly reissued: number;
  /** Sample ids of a committed step, in tree order. */
  samplesOf(step: number): readonly number[];
}

interface Entry {
  readonly to: string;
  readonly lease: Lease;
  uploaded: boolean;
  verified: boolean;
  refused: boolean;
  isVoid: boolean;
  counted: boolean;
}

export function openLedger(context: LedgerContext): Ledger {
  const { planner, unitCount, violate } = context;
  const samples: (readonly number[])[] = [];
  const published: string[] = [];
  let leases = new Map<number, Entry>();
  /** The units in the sum at a node: of one contribution, or of its two halves. */
  let sums = new Map<string, readonly Unit[]>();
  let given = new Set<number>();
  let step = 0;
  let committing = false;
  let leaseCount = 0;
  let reissued = 0;

  const clear = () => {
    leases = new Map();
    sums = new Map();
    given = new Set();
    committing = false;
  };

  const granted = (to: string, lease: Lease) => {
    const known = leases.get(lease.lease);
    if (known) {
      if (known.to !== to) violate(`lease ${lease.lease} was given to two volunteers`);
      return;
    }
    if (lease.kind === "gradient" && lease.step !== step)
      violate(`a lease of step ${lease.step} was given out in step ${step}`);
    leaseCount++;
    if (lease.units.some(({ index }) => given.has(index))) reissued++;
    for (const { index } of lease.units) if (lease.kind === "gradient") given.add(index);
    leases.set(lease.lease, {
      ...{ to, lease, uploaded: false, verified: false },
      ...{ refused: false, isVoid: false, counted: false },
    });
  };

  const accepted = (to: string, number: number) => {
    const entry = leases.get(number);
    if (!entry) {
      violate(`lease ${number}, which was never given out, was counted`);
      return;
    }
    const { lease } = entry;
    if (entry.to !== to) violate(`lease ${number} was counted for somebody else`);
    if (!entry.uploaded || !entry.verified) violate(`lease ${number} was counted unseen`);
    if (entry.refused) violate(`lease ${number} was refused and counted`);
    if (entry.isVoid) violate(`lease ${number} was revoked and counted`);
    if (entry.counted) violate(`lease ${number} was counted twice`);
    entry.counted = true;
    if (lease.kind !== "gradient") return;
    if (lease.step !== step) violate(`a contribution of step ${lease.step} counts in ${step}`);
    put(lease, lease.units);
  };
  /** A filled node stays as it is. */
  const put = (node: Node, units: readonly Unit[]) => {
    const key = nodeKey(node);
    if (sums.has(key)) violate(`node ${key} of step ${step} was filled twice`);
    sums.set(key, units);
  };
  const take = (node: Node): readonly Unit[] => {
    const units = sums.get(nodeKey(node));
    if (!units) violate(`node ${nodeKey(node)} of step ${step} is added and was never filled`);
    return units ?? [];
  };

  const committed = (effect: Extract<Effect, { type: "commit" }>) => {
    if (effect.step !== step || committing) violate(`step ${effect.step} commits out of order`);
    committing = true;
    const units = take(effect.root);
    const ids = units.flatMap((unit) => [...unit.samples]);
    if (units.length !== unitCount || units.some(({ index }, i) => index !== i))
      violate(`step ${step} sums units ${units.map(({ index }) => index).join()} of ${unitCount}`);
    if (ids.length !== effect.samples)
      violate(`step ${step} applies ${effect.samples} samples, counted are ${ids.length}`);
    const planned = planner.planStep(step)?.samples;
    if (context.struck() === 0 && ids.length !== planned)
      violate(`step ${step} counts ${ids.length} samples, planned are ${planned}`);
    samples[step] = ids;
  };

  return {
    before(event) {
      if (event.type === "uploaded") {
        const entry = leases.get(event.lease);
        if (entry?.to === event.volunteer) entry.uploaded = true;
      } else if (event.type === "verified") {
        const entry = leases.get(event.lease);
        if (entry) entry.verified = true;
      } else if (event.type === "refused") {
        const entry = leases.get(event.lease);
        if (entry) entry.refused = true;
      } else if (event.type === "committed" && event.finite) {
        if (event.step !== step || !committing) violate(`step ${event.step} committed unasked`);
        const name = event.weights.parameters;
        const before = published[step + 1] ?? context.reference?.(step + 1);
        if (before !== undefined && before !== name)
          violate(`step ${step + 1} gave weights ${name}, and ${before} before`);
        published[step + 1] = name;
        step++;
        clear();
      } else if (event.type === "commit-failed") {
        committing = false;
      } else if (event.type === "rolled-back") {
        step = event.step;
        clear();
        // With a lossy codec another grouping gives other weights when a step is done again.
        if (!context.reference) published.length = Math.min(published.length, step + 1);
      }
    },
    after(effects) {
      for (const effect of effects)
        switch (effect.type) {
          case "lease":
            granted(effect.to, effect.lease);
            break;
          case "revoke": {
            const entry = leases.get(effect.revoke.lease);
            if (entry) entry.isVoid = true;
            break;
          }
          case "verdict":
            if (effect.verdict.accepted) accepted(effect.to, effect.verdict.lease);
            break;
          case "add":
            put(effect.node, [...take(effect.left), ...take(effect.right)]);
            break;
          case "alias":
            put(effect.node, take(effect.child));
            break;
          case "commit":
            committed(effect);
            break;
          case "forget-step":
            if (effect.step === step) clear();
            break;
          case "notice":
            if (effect.notice.code === "REMOVED" && context.isHonest(effect.to))
              violate(`honest volunteer ${effect.to} was removed: ${effect.notice.message}`);
            break;
        }
    },
    restarted(at) {
      step = at;
      clear();
    },
    finish() {
      if (context.struck() > 0) return;
      const seen = new Uint8Array(planner.epochSamples);
      let position = 0;
      for (const ids of samples)
        for (const id of ids ?? []) {
          if (position % planner.epochSamples === 0) seen.fill(0);
          if (seen[id]++) violate(`sample ${id} was used twice in an epoch`);
          position++;
        }
    },
    get commits() {
      return step;
    },
    get leases() {
      return leaseCount;
    },
    get reissued() {
      return reissued;
    },
    samplesOf: (at) => samples[at] ?? [],
  };
}
