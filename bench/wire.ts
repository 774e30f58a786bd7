/**
 * Bytes that travel for each step, by codec: one contribution up, the next weights down.
 *
 *   npx tsx bench/wire.ts [classes]
 */

import { publishWeights } from "@swarmvit/coordinator/vectors/publish-weights";
import { CODECS, type Codec } from "@swarmvit/shared/codec";
import { encodeFrame, type FrameId, frameBytes } from "@swarmvit/shared/frame";
import { initialParameters } from "@swarmvit/shared/init";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import { encodeAsHalves, firstPublished } from "@swarmvit/shared/published-weights";
import { fill } from "@swarmvit/shared/random";

const classes = Number(process.argv[2] ?? 1000);
console.log(`| model, ${classes} classes | codec | contribution B | weights B |`);
console.log("|---|---|---|---|");
for (const variant of ["xxs", "xs", "s"] as const) {
  const table = parameterTable(variant, classes);
  for (const codec of CODECS)
    console.log(`| ${variant} | ${codec} | ${up(codec, table)} | ${down(codec, table)} |`);
}

/** Bytes of a frame that was really encoded. */
function up(codec: Codec, table: ParameterTable): number {
  const token = "0".repeat(32);
  const place = { step: 0, level: 0, index: 0, samples: 8, lease: 1 };
  const id: FrameId = { run: "0".repeat(16), kind: "gradient", codec, token, ...place };
  const { byteLength } = encodeFrame(id, table, {
    report: { loss: 1, top1: 0, top5: 0, computeMs: 1 },
    statistics: new Float32Array(table.statisticsCount),
    gradient: fill("gradient", table.parameterCount, 0, 1e-3),
  });
  if (byteLength !== frameBytes("gradient", codec, table)) throw new Error("sizes disagree");
  return byteLength;
}

/** Bytes of weights that were really published. */
function down(codec: Codec, table: ParameterTable): number {
  const weights = initialParameters(table, 1);
  const published = firstPublished(codec, weights);
  for (let i = 0; i < weights.length; i++) weights[i] *= 1.001;
  const delta = publishWeights(codec, table, weights, published);
  if (delta) return delta.byteLength;
  return codec === "f16" ? encodeAsHalves(published).byteLength : published.byteLength;
}
