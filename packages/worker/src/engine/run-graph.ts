/** How any executor runs one graph on given values: what tests and self-tests of operations use. */

import type { Graph, ValueId } from "./graph.ts";

/**
 * Runs a graph once. `inputs` holds every value that no operation writes (parameters in engine
 * layout); the result holds `graph.outputs`. `seed` is the unit's seed for dropout (0 if absent).
 */
export type RunGraph = (
  graph: Graph,
  inputs: ReadonlyMap<ValueId, Float32Array>,
  seed?: number,
) => Promise<Map<ValueId, Float32Array>>;
