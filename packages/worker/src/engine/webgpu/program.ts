/** A lowered graph on a device: parameter blocks, tables, bind groups, and the passes of one unit. */

import type { OperationKind, ValueId } from "../graph.ts";
import type { Plan } from "../plan.ts";
import { type Binding, type Dispatch, invocationsOf } from "./dispatch.ts";
import type { Kernel } from "./kernel.ts";
import { MAX_GROUPS } from "./kernel.ts";
import type { KernelOptions } from "./kernel-options.ts";
import { lower } from "./lower.ts";
import type { BufferName, Memory } from "./memory.ts";
import type { Pipelines } from "./pipelines.ts";

/** Bytes between parameter blocks: the default limit on uniform offsets. */
const BLOCK = 256;

/** Where something lies: a part of a buffer. */
export interface Region {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
}

export interface Program {
  readonly plan: Plan;
  readonly dispatches: readonly Dispatch[];
  /** For each dispatch, the kind of its operation. */
  readonly kinds: readonly OperationKind[];
  /** Bytes that it needs of each shared buffer. */
  readonly needs: ReadonlyMap<BufferName, number>;
  /** Where a planned value lies. */
  region(id: ValueId): Region;
  /** Compiles kernels and reserves memory; to be awaited before `encode`. */
  prepare(): Promise<void>;
  /**
   * Records all dispatches in `submits` parts of similar work; `cut` ends the current submit and
   * returns the encoder of the next.
   */
  encode(
    encoder: GPUCommandEncoder,
    submits: number,
    cut: () => GPUCommandEncoder,
  ): GPUCommandEncoder;
  /** Records some dispatches only, again and again: for measuring kernels one by one. */
  encodeOnly(
    encoder: GPUCommandEncoder,
    chosen: (dispatch: Dispatch, index: number) => boolean,
    times: number,
  ): void;
  close(): void;
}

export interface ProgramHost {
  readonly memory: Memory;
  readonly pipelines: Pipelines;
  readonly options: KernelOptions;
  /** The words [seed, token] of the unit. */
  readonly unit: GPUBuffer;
  /** Where a value lies that the plan does not place: parameters and running statistics. */
  outside(id: ValueId, plan: Plan): Region;
}

/** Lowers a plan and uploads what never changes. */
export function createProgram(plan: Plan, host: ProgramHost): Program {
  const { memory, pipelines } = host;
  const { device } = memory;
  const { dispatches, scratchBytes, kinds } = lower(plan, host.options);
  const names = bufferNames(plan);
  const needs = neededBuffers(plan, scratchBytes);

  const blocks = device.createBuffer({
    label: "parameters of kernels",
    size: Math.max(1, dispatches.length) * BLOCK,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(blocks, 0, parameterBlocks(dispatches));
  const tables = new Map<Uint32Array, GPUBuffer>();
  for (const { bindings } of dispatches)
    for (const binding of bindings)
      if ("chunks" in binding) tables.set(binding.chunks, upload(device, binding.chunks));

  const region = (id: ValueId): Region => {
    const place = plan.places[id];
    if (!place) return host.outside(id, plan);
    const { buffer, offset, bytes } = place;
    return { buffer: memory.buffer(names[buffer]), offset, bytes };
  };
  const bound = (binding: Binding): GPUBufferBinding => {
    if ("unit" in binding) return { buffer: host.unit };
    if ("chunks" in binding) return { buffer: tables.get(binding.chunks) as GPUBuffer };
    if ("gradients" in binding) return { buffer: memory.buffer("gradient") };
    const { buffer, offset, bytes } =
      "value" in binding
        ? region(binding.value)
        : {
            buffer: memory.buffer(`scratch${binding.bank}`),
            offset: binding.offset,
            bytes: binding.bytes,
          };
    return { buffer, offset, size: Math.ceil(bytes / 16) * 16 };
  };
  const groupOf = ({ kernel, bindings }: Dispatch, index: number): GPUBindGroup =>
    device.createBindGroup({
      label: kernel.key,
      layout: pipelines.layout(kernel),
      entries: [
        {
          binding: 0,
          resource: { buffer: blocks, offset: index * BLOCK, size: blockBytes(kernel) },
        },
        ...bindings.map((binding, i) => ({ binding: i + 1, resource: bound(binding) })),
      ],
    });

  let groups: GPUBindGroup[] = [];
  let generation = -1;
  const bind = () => {
    if (generation !== memory.generation) groups = dispatches.map(groupOf);
    generation = memory.generation;
  };
  const record = (pass: GPUComputePassEncoder, dispatch: Dispatch, group: GPUBindGroup) => {
    pass.setPipeline(pipelines.pipeline(dispatch.kernel));
    pass.setBindGroup(0, group);
    const count = Math.ceil(invocationsOf(dispatch) / dispatch.kernel.workgroup);
    pass.dispatchWorkgroups(Math.min(count, MAX_GROUPS), Math.ceil(count / MAX_GROUPS));
  };
  const totalWork = dispatches.reduce((sum, { work }) => sum + work, 0);
  return {
    plan,
    dispatches,
    kinds,
    needs,
    region,
    async prepare() {
      await memory.reserve(needs);
      await pipelines.prepare(dispatches.map(({ kernel }) => kernel));
    },
    encodeOnly(encoder, chosen, times) {
      bind();
      const pass = encoder.beginComputePass();
      for (let i = 0; i < times; i++)
        dispatches.forEach((dispatch, index) => {
          if (chosen(dispatch, index)) record(pass, dispatch, groups[index]);
        });
      pass.end();
    },
    encode(first, submits, cut) {
      bind();
      let encoder = first;
      let pass = encoder.beginComputePass();
      let [done, part] = [0, 1];
      dispatches.forEach((dispatch, i) => {
        if (done >= (totalWork * part) / submits) {
          pass.end();
          encoder = cut();
          pass = encoder.beginComputePass();
          part++;
        }
        done += dispatch.work;
        record(pass, dispatch, groups[i]);
      });
      pass.end();
      return encoder;
    },
    close() {
      blocks.destroy();
      for (const table of tables.values()) table.destroy();
    },
  };
}

/** Bytes of each shared buffer that a lowered plan needs. */
export function neededBuffers(
  plan: Plan,
  scratchBytes: readonly number[],
): ReadonlyMap<BufferName, number> {
  const names = bufferNames(plan);
  const needs = new Map<BufferName, number>();
  plan.buffers.forEach(({ bytes }, i) => {
    needs.set(names[i], Math.max(bytes, BLOCK));
  });
  scratchBytes.forEach((bytes, bank) => {
    if (bytes > 0) needs.set(`scratch${bank}`, bytes);
  });
  return needs;
}

/** Names of a plan's buffers in memory: arenas are numbered, gradients and statistics are one each. */
function bufferNames(plan: Plan): BufferName[] {
  return plan.buffers.map(({ kind }, i) => (kind === "arena" ? `arena${i}` : kind));
}

/** A storage buffer with these words. */
function upload(device: GPUDevice, words: Uint32Array<ArrayBuffer>): GPUBuffer {
  const buffer = device.createBuffer({
    size: Math.max(16, words.byteLength),
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(buffer, 0, words);
  return buffer;
}

function blockBytes({ params }: Kernel): number {
  return Math.ceil(params.length / 4) * 16;
}

function parameterBlocks(dispatches: readonly Dispatch[]): ArrayBuffer {
  const bytes = new ArrayBuffer(Math.max(1, dispatches.length) * BLOCK);
  const view = new DataView(bytes);
  dispatches.forEach(({ kernel, params }, i) => {
    kernel.params.forEach(({ type }, j) => {
      const at = i * BLOCK + j * 4;
      if (type === "f32") view.setFloat32(at, params[j], true);
      else view.setUint32(at, params[j], true);
    });
  });
  return bytes;
}
