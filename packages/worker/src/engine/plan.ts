/**
 * The memory of a graph, known before anything is allocated: when each value is alive, and where it
 * lies. Values that are alive at the same time never overlap; all others may share bytes.
 */

import type { Graph, Value, ValueId } from "./graph.ts";
import { elements } from "./graph-builder.ts";
import { operandsOf } from "./operands.ts";

/** When a value is alive, in indices of `graph.operations`, both ends included. */
export interface Lifetime {
  /** The operation that writes it; -1 if it is uploaded before the first. */
  readonly first: number;
  /** The last operation that uses it; `operations.length` if it is an output. */
  readonly last: number;
}

export interface Place {
  /** Index into `Plan.buffers`. */
  readonly buffer: number;
  /** Byte offset inside that buffer, a multiple of the alignment. */
  readonly offset: number;
  readonly bytes: number;
}

export interface PlannedBuffer {
  /** An arena is shared over time; gradients and statistics, if apart, have their own places. */
  readonly kind: "arena" | "gradient" | "statistic";
  readonly bytes: number;
}

export interface Plan {
  readonly graph: Graph;
  /** Arenas first, then (if apart) gradients, then statistics. */
  readonly buffers: readonly PlannedBuffer[];
  /** Where each value lies; undefined for parameters and running statistics. */
  readonly places: readonly (Place | undefined)[];
  readonly lifetimes: readonly Lifetime[];
  /** Bytes of all arenas. */
  readonly arenaBytes: number;
  /** Bytes of all buffers. */
  readonly bytes: number;
}

export interface PlanOptions {
  /** Offsets are multiples of this many bytes (WebGPU's default is 256). */
  readonly alignment?: number;
  /**
   * 1: one arena. More: at least that many, and no operation reads and writes values of the same
   * buffer; another is opened where the given ones do not suffice.
   */
  readonly buffers?: number;
  /**
   * Gradients in a buffer of their own, one after the other in the order of their parameters in the
   * graph (which is `parameterTable`'s), so that units are added in one pass; statistics likewise.
   */
  readonly apart?: boolean;
}

/** Places every value of a graph, largest first, each in the tightest gap that is free. */
export function plan(graph: Graph, options: PlanOptions = {}): Plan {
  const { alignment = 256, buffers = 1, apart = false } = options;
  const aligned = (bytes: number) => Math.ceil(bytes / alignment) * alignment;
  const lifetimes = lifetimesOf(graph);
  const places: (Place | undefined)[] = graph.values.map(() => undefined);
  const arenas: Arena[] = Array.from({ length: buffers }, () => ({ bytes: 0, held: [] }));
  const isApart = ({ role }: Value) =>
    apart && (role.kind === "gradient" || role.kind === "statistic");

  const rivals = buffers > 1 ? rivalsOf(graph) : undefined;
  const placed = graph.values
    .filter((value) => !livesOutside(value) && !isApart(value))
    .sort((a, b) => elements(b.shape) - elements(a.shape) || a.id - b.id);
  for (const { id, shape } of placed) {
    const bytes = elements(shape) * 4;
    const need = aligned(bytes);
    const taken = new Set([...(rivals?.[id] ?? [])].map((rival) => places[rival]?.buffer));
    let best: { buffer: number; offset: number; growth: number } | undefined;
    arenas.forEach((arena, buffer) => {
      if (taken.has(buffer)) return;
      const offset = tightestGap(arena, lifetimes[id], need);
      const growth = Math.max(0, offset + need - arena.bytes);
      if (!best || growth < best.growth) best = { buffer, offset, growth };
    });
    if (!best) {
      arenas.push({ bytes: 0, held: [] });
      best = { buffer: arenas.length - 1, offset: 0, growth: need };
    }
    const { buffer, offset } = best;
    places[id] = { buffer, offset, bytes };
    hold(arenas[buffer], { offset, end: offset + need, ...lifetimes[id] });
  }

  const planned: PlannedBuffer[] = arenas.map(({ bytes }) => ({ kind: "arena", bytes }));
  if (apart) {
    for (const kind of ["gradient", "statistic"] as const) {
      let end = 0;
      for (const { id, shape } of inParameterOrder(graph, kind)) {
        const bytes = elements(shape) * 4;
        places[id] = { buffer: planned.length, offset: end, bytes };
        end += aligned(bytes);
      }
      planned.push({ kind, bytes: end });
    }
  }
  const total = (list: readonly PlannedBuffer[]) => list.reduce((sum, { bytes }) => sum + bytes, 0);
  const arenaBytes = total(planned.filter(({ kind }) => kind === "arena"));
  return { graph, buffers: planned, places, lifetimes, arenaBytes, bytes: total(planned) };
}

/** When each value of a graph is alive. Parameters and running statistics always are. */
export function lifetimesOf(graph: Graph): Lifetime[] {
  const end = graph.operations.length;
  const first = graph.values.map(() => -1);
  const last = graph.values.map((value) => (livesOutside(value) ? end : -1));
  graph.operations.forEach((operation, index) => {
    const { reads, writes } = operandsOf(operation);
    for (const id of writes) {
      first[id] = index;
      last[id] = index;
    }
    for (const id of reads) if (last[id] < end) last[id] = index;
  });
  for (const id of graph.outputs) last[id] = end;
  return graph.values.map(({ id }) => ({ first: first[id], last: last[id] }));
}

/** For each operation, the values whose last use it is: what may be let go after it. */
export function releasedAfter(graph: Graph): ValueId[][] {
  const released: ValueId[][] = graph.operations.map(() => []);
  lifetimesOf(graph).forEach(({ last }, id) => {
    if (last >= 0) released[last]?.push(id);
  });
  return released;
}

/** Least bytes that any placement needs: the most that is alive at one operation. */
export function liveBytes(graph: Graph): number {
  const lifetimes = lifetimesOf(graph);
  const change = new Float64Array(graph.operations.length + 2);
  for (const value of graph.values) {
    if (livesOutside(value)) continue;
    const { first, last } = lifetimes[value.id];
    change[Math.max(first, 0)] += elements(value.shape) * 4;
    change[Math.max(last, 0) + 1] -= elements(value.shape) * 4;
  }
  let [live, most] = [0, 0];
  for (const bytes of change) {
    live += bytes;
    most = Math.max(most, live);
  }
  return most;
}

interface Held extends Lifetime {
  readonly offset: number;
  readonly end: number;
}

interface Arena {
  bytes: number;
  /** Sorted by offset. */
  readonly held: Held[];
}

/** Weights belong to the executor, not to the arena. */
function livesOutside({ role }: Value): boolean {
  return ["parameter", "runningMean", "runningVariance"].includes(role.kind);
}

/** The offset of the smallest gap of at least `need` bytes that is free during a lifetime. */
function tightestGap(arena: Arena, lifetime: Lifetime, need: number): number {
  let [end, best, slack] = [0, -1, Number.POSITIVE_INFINITY];
  for (const other of arena.held) {
    if (other.first > lifetime.last || other.last < lifetime.first) continue;
    const gap = other.offset - end;
    if (gap >= need && gap - need < slack) [best, slack] = [end, gap - need];
    end = Math.max(end, other.end);
  }
  return best >= 0 ? best : end;
}

function hold(arena: Arena, held: Held): void {
  const index = arena.held.findIndex(({ offset }) => offset > held.offset);
  arena.held.splice(index < 0 ? arena.held.length : index, 0, held);
  arena.bytes = Math.max(arena.bytes, held.end);
}

/** For each value, the values that must not share its buffer: read where it is written, or back. */
function rivalsOf(graph: Graph): Set<ValueId>[] {
  const rivals = graph.values.map(() => new Set<ValueId>());
  for (const operation of graph.operations) {
    const { reads, writes } = operandsOf(operation);
    for (const read of reads) {
      for (const write of writes) {
        rivals[read].add(write);
        rivals[write].add(read);
      }
    }
  }
  return rivals;
}

function inParameterOrder(graph: Graph, kind: "gradient" | "statistic"): Value[] {
  if (kind === "statistic") return graph.values.filter(({ role }) => role.kind === kind);
  const order = new Map<string, number>();
  for (const { id, role } of graph.values) if (role.kind === "parameter") order.set(role.name, id);
  const rank = ({ role }: Value) => (role.kind === "gradient" && order.get(role.parameter)) || 0;
  return graph.values.filter(({ role }) => role.kind === kind).sort((a, b) => rank(a) - rank(b));
}
