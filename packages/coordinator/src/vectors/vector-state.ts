/** The long vectors of a run. */

import type { Codec } from "@swarmvit/shared/codec";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import { firstPublished } from "@swarmvit/shared/published-weights";

/** Everything that a checkpoint holds beside the core's snapshot. */
export interface VectorState {
  /** w, the optimizer's own weights: [parameterCount], as are the next four. */
  readonly weights: Float32Array;
  /** p_t, what volunteers compute at. */
  readonly published: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
  readonly emaWeights: Float32Array;
  /** Running means and variances: [statisticsCount], as is their EMA. */
  readonly statistics: Float32Array;
  readonly emaStatistics: Float32Array;
  /** Steps of the optimizer so far: its t. */
  steps: number;
}

/** The state before the first step. The EMA starts as a copy. */
export function initialVectorState(
  table: ParameterTable,
  codec: Codec,
  parameters: Float32Array,
  statistics: Float32Array,
): VectorState {
  if (parameters.length !== table.parameterCount || statistics.length !== table.statisticsCount)
    throw new Error(
      `${table.parameterCount} parameters and ${table.statisticsCount} statistics were expected (got ${parameters.length} and ${statistics.length})`,
    );
  return {
    weights: parameters.slice(),
    published: firstPublished(codec, parameters),
    firstMoment: new Float32Array(table.parameterCount),
    secondMoment: new Float32Array(table.parameterCount),
    emaWeights: parameters.slice(),
    statistics: statistics.slice(),
    emaStatistics: statistics.slice(),
    steps: 0,
  };
}
