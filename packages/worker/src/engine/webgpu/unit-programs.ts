/** The programs of an executor, one a size, and running one on a batch. */

import type { AttentionPlace } from "../attention-map.ts";
import type { Batch, ModelConfig } from "../executor.ts";
import { foldNorms } from "../fold.ts";
import type { Graph, ValueId } from "../graph.ts";
import { attentionGraph, evaluationGraph, trainingGraph } from "../mobilevit.ts";
import { type Plan, plan } from "../plan.ts";
import { fuseAdditions } from "./fuse.ts";
import { createProgram, type Program, type ProgramHost } from "./program.ts";
import { createReadBack, type ReadBack } from "./read-back.ts";

/** A submit should take about this long, so that a slow GPU can draw in between (DESIGN section 4). */
const SUBMIT_MS = 100;

/** What a program is for; an attention's place gives its queries, keys and values. */
export type Purpose = "training" | "evaluation" | AttentionPlace;

export interface UnitProgram {
  readonly program: Program;
  readonly pixels: ValueId;
  readonly labels: ValueId | undefined;
  /** Report (training), logits (evaluation), or a layer's queries, keys and values. */
  readonly result: ValueId;
  readonly readBack: ReadBack;
  /** How many submits a unit is cut into, from how long the last one took. */
  submits: number;
}

export interface UnitResult {
  readonly result: Float32Array;
  readonly computeMs: number;
}

export interface UnitPrograms {
  /** The program of a size, compiled and with its memory reserved. */
  of(height: number, width: number, batch: number, purpose: Purpose): Promise<UnitProgram>;
  /** Uploads a batch, runs its program and whatever `after` records, and reads the result. */
  compute(
    unit: UnitProgram,
    batch: Batch,
    after?: (encoder: GPUCommandEncoder) => void,
  ): Promise<UnitResult>;
  /** Writes the unit's words [seed, a fresh token]; the token, for a read-back that is no unit's. */
  nextToken(seed: number): number;
  /** Of the last unit. */
  readonly counts: { readonly dispatches: number; readonly submits: number };
  close(): void;
}

/** No programs yet. */
export function createUnitPrograms(config: ModelConfig, host: ProgramHost): UnitPrograms {
  const { unit, pipelines } = host;
  const { device } = host.memory;
  const programs = new Map<string, UnitProgram>();
  let token = 0;
  let counts = { dispatches: 0, submits: 0 };
  const nextToken = (seed: number) => {
    token = (token + 1) >>> 0;
    device.queue.writeBuffer(unit, 0, new Uint32Array([seed >>> 0, token]));
    return token;
  };

  return {
    nextToken,
    get counts() {
      return counts;
    },
    async of(height, width, batch, purpose) {
      const key = `${height}x${width}x${batch} ${JSON.stringify(purpose)}`;
      const known = programs.get(key);
      if (known) {
        await known.program.prepare();
        return known;
      }
      const { graph, ...ends } = networkFor(purpose, config, height, width, batch);
      const program = createProgram(unitPlan(graph), host);
      await program.prepare();
      const bytes = Math.ceil(program.region(ends.result).bytes / 16) * 16;
      const readBack = await createReadBack(device, pipelines, unit, bytes);
      const made: UnitProgram = { program, ...ends, readBack, submits: 1 };
      programs.set(key, made);
      return made;
    },
    async compute(of, batch, after) {
      const started = performance.now();
      const { program, readBack } = of;
      const write = (id: ValueId, values: Float32Array<ArrayBuffer>) => {
        const { buffer, offset } = program.region(id);
        device.queue.writeBuffer(buffer, offset, values);
      };
      const expected = nextToken(batch.seed);
      write(of.pixels, batch.pixels as Float32Array<ArrayBuffer>);
      if (of.labels !== undefined) write(of.labels, Float32Array.from(batch.labels));
      let submits = 1;
      let encoder = device.createCommandEncoder();
      encoder = program.encode(encoder, of.submits, () => {
        device.queue.submit([encoder.finish()]);
        submits++;
        encoder = device.createCommandEncoder();
        return encoder;
      });
      after?.(encoder);
      readBack.encode(encoder, [program.region(of.result)]);
      device.queue.submit([encoder.finish()]);
      const [result] = await readBack.read(expected);
      const computeMs = performance.now() - started;
      counts = { dispatches: program.dispatches.length, submits };
      of.submits = Math.max(1, Math.ceil(computeMs / SUBMIT_MS));
      return { result, computeMs };
    },
    close() {
      for (const { program, readBack } of programs.values()) {
        program.close();
        readBack.close();
      }
    },
  };
}

/** The plan that the kernels need: what one operation reads and writes lies in different buffers. */
export function unitPlan(graph: Graph): Plan {
  return plan(fuseAdditions(graph), { buffers: 2, apart: true });
}

interface Network {
  readonly graph: Graph;
  readonly pixels: ValueId;
  readonly labels: ValueId | undefined;
  readonly result: ValueId;
}

function networkFor(
  purpose: Purpose,
  config: ModelConfig,
  h: number,
  w: number,
  b: number,
): Network {
  if (purpose === "training") {
    const { graph, pixels, labels, report } = trainingGraph(config, h, w, b);
    return { graph, pixels, labels, result: report };
  }
  if (purpose === "evaluation") {
    const { graph, pixels, logits } = evaluationGraph(config, h, w, b);
    return { graph: foldNorms(graph).graph, pixels, labels: undefined, result: logits };
  }
  const { graph, pixels, qkv } = attentionGraph(config, h, w, b, purpose);
  return { graph: foldNorms(graph).graph, pixels, labels: undefined, result: qkv };
}
