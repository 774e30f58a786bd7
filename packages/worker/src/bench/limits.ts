/** How fast this device could be at most, measured by two loops that do nothing else. */

export interface Limits {
  /** Multiplications and additions in float32, 10^9 a second. */
  readonly gflops: number;
  /** Bytes read and written by a copy that fits no cache, 10^9 a second. */
  readonly gigabytesPerSecond: number;
}

/** Repetitions of each probe; the best one counts. Short and many: a busy machine leaves some of them alone. */
const TRIES = 8;
const ARITHMETIC_TRIES = 60;
const LONG_ENOUGH_S = 0.02;
const COPY_BYTES = 64 * 2 ** 20;

/** The limits of one thread of the processor under WebAssembly's portable SIMD. */
export async function processorLimits(): Promise<Limits> {
  const { instance } = await WebAssembly.instantiate(arithmeticModule());
  const run = instance.exports.run as (rounds: number) => number;
  run(100_000); // compiled by now
  const rounds = 200_000;
  const seconds = bestSeconds(ARITHMETIC_TRIES, () => run(rounds));
  const flop = rounds * CHAINS * LANES * 2;
  const source = new Uint8Array(COPY_BYTES).fill(1);
  const target = new Uint8Array(COPY_BYTES).fill(2);
  const copySeconds = bestSeconds(TRIES, () => target.set(source));
  return {
    gflops: flop / seconds / 1e9,
    gigabytesPerSecond: (2 * COPY_BYTES) / copySeconds / 1e9,
  };
}

/** The limits of a GPU: a kernel of independent multiply-adds, and a copy between buffers by a kernel. */
export async function gpuLimits(device: GPUDevice): Promise<Limits> {
  const invocations = 65_536;
  const rounds = 256;
  const elements = COPY_BYTES / 16;
  const usage = GPUBufferUsage.STORAGE;
  const [a, b] = [0, 1].map(() => device.createBuffer({ size: COPY_BYTES, usage }));
  const time = async (code: string, count: number) => {
    const module = device.createShaderModule({ code });
    const pipeline = await device.createComputePipelineAsync({
      layout: "auto",
      compute: { module },
    });
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: { buffer: a } },
        { binding: 1, resource: { buffer: b } },
      ],
    });
    const once = async (repeats: number) => {
      const started = performance.now();
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < repeats; i++)
        pass.dispatchWorkgroups(Math.min(count / 64, 32_768), Math.ceil(count / 64 / 32_768));
      pass.end();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      return (performance.now() - started) / 1000;
    };
    // On a fast GPU one dispatch is shorter than the way there and back.
    let repeats = 1;
    while ((await once(repeats)) < LONG_ENOUGH_S && repeats < 1024) repeats *= 2;
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < TRIES; i++) best = Math.min(best, await once(repeats));
    return best / repeats;
  };
  try {
    const arithmetic = await time(arithmeticKernel(rounds), invocations);
    const copy = await time(COPY_KERNEL, elements);
    const flop = invocations * rounds * GPU_CHAINS * 4 * 2;
    return {
      gflops: flop / arithmetic / 1e9,
      gigabytesPerSecond: (2 * COPY_BYTES) / copy / 1e9,
    };
  } finally {
    a.destroy();
    b.destroy();
  }
}

function bestSeconds(tries: number, work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < tries; i++) {
    const started = performance.now();
    work();
    best = Math.min(best, (performance.now() - started) / 1000);
  }
  return best;
}

const GPU_CHAINS = 8;

function arithmeticKernel(rounds: number): string {
  const chains = Array.from({ length: GPU_CHAINS }, (_, i) => i);
  return `
@group(0) @binding(0) var<storage, read_write> a: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let x = b[id.x & 1023u] + vec4f(1.0000001);
  ${chains.map((i) => `var c${i} = a[(id.x + ${i}u) & 1023u];`).join(" ")}
  for (var i = 0u; i < ${rounds}u; i++) {
    ${chains.map((i) => `c${i} = fma(c${i}, x, x);`).join(" ")}
  }
  a[id.x] = ${chains.map((i) => `c${i}`).join(" + ")};
}`;
}

const COPY_KERNEL = `
@group(0) @binding(0) var<storage, read_write> a: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * 32768u + group.x) * 64u + local;
  if (i < arrayLength(&a)) { b[i] = a[i]; }
}`;

/** Independent sums of products: enough to keep the pipes full, few enough for the registers. */
const CHAINS = 12;
const LANES = 4;

/**
 * A module with `run(rounds: i32) → f32`: in each round every chain does c = c·x + x on four lanes.
 * Written as bytes: it is the whole program.
 */
function arithmeticModule(): Uint8Array<ArrayBuffer> {
  const [I32, F32, V128] = [0x7f, 0x7d, 0x7b];
  const [GET, SET, CONST] = [0x20, 0x21, 0x41];
  const simd = (opcode: number) => [0xfd, ...leb(opcode)];
  const [splat, add, mul, extract] = [0x13, 0xe4, 0xe6, 0x1f].map(simd);
  const x = 1;
  const chain = (i: number) => 2 + i;
  const chains = Array.from({ length: CHAINS }, (_, i) => chain(i));
  const one = [0x43, 0x00, 0x00, 0x80, 0x3f]; // f32.const 1
  const body = [
    ...[1, ...leb(1 + CHAINS), V128], // locals: x and the chains
    ...[...one, ...splat, SET, x],
    ...chains.flatMap((c) => [...one, ...splat, SET, c]),
    ...[0x03, 0x40], // loop
    ...chains.flatMap((c) => [GET, c, GET, x, ...mul, GET, x, ...add, SET, c]),
    ...[GET, 0, CONST, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b], // rounds = rounds - 1; while not 0
    ...[GET, chain(0), ...chains.slice(1).flatMap((c) => [GET, c, ...add]), ...extract, 0],
    0x0b,
  ];
  const section = (id: number, bytes: readonly number[]) => [id, ...leb(bytes.length), ...bytes];
  const name = [...new TextEncoder().encode("run")];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [1, 0x60, 1, I32, 1, F32]),
    ...section(3, [1, 0]),
    ...section(7, [1, name.length, ...name, 0x00, 0]),
    ...section(10, [1, ...leb(body.length), ...body]),
  ]);
}

function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
}
