/** A kernel: WGSL text, generic in shape, and the bindings it expects. */

import type { Activation } from "../graph.ts";

/** Width of a vector load: 4 where the channels allow, 1 where nothing else fits. */
export type Width = 1 | 2 | 4;

export type Access = "read" | "write";

export interface Kernel {
  /** Names the kernel and everything baked into its text; one pipeline a key. */
  readonly key: string;
  readonly code: string;
  /** Storage bindings 1, 2, …; binding 0 is the block of parameters. */
  readonly access: readonly Access[];
  readonly params: readonly Param[];
  readonly workgroup: number;
}

/** A field of the parameter block. */
export interface Param {
  readonly name: string;
  readonly type: "u32" | "f32";
}

export interface KernelText {
  readonly key: string;
  /** Fields of the parameter block `p`; `name:f32` for a float. `total` is always the first. */
  readonly params: readonly string[];
  /** [name, element type] of read-only and of writable bindings, in binding order. */
  readonly reads: readonly (readonly [string, string])[];
  readonly writes: readonly (readonly [string, string])[];
  /** Functions beside the entry point. */
  readonly functions?: string;
  /** Statements of one invocation; `id` is its number, below `p.total`. */
  readonly body: string;
}

/** The most workgroups along one axis of a dispatch (the WebGPU default limit). */
export const MAX_GROUPS = 65535;

/** Assembles a kernel whose invocations are numbered 0 … total-1. */
export function kernel(text: KernelText, workgroup: number): Kernel {
  const params = ["total", ...text.params].map((field): Param => {
    const [name, type] = field.split(":");
    return { name, type: type === "f32" ? "f32" : "u32" };
  });
  const bind = (mode: string, list: KernelText["reads"], first: number) =>
    list.map(
      ([name, type], i) =>
        `@group(0) @binding(${first + i}) var<storage, ${mode}> ${name}: array<${type}>;`,
    );
  const code = [
    `struct Params { ${params.map((f) => `${f.name}: ${f.type}`).join(", ")} }`,
    "@group(0) @binding(0) var<uniform> p: Params;",
    ...bind("read", text.reads, 1),
    ...bind("read_write", text.writes, 1 + text.reads.length),
    text.functions ?? "",
    `@compute @workgroup_size(${workgroup})`,
    "fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {",
    `let id = (group.y * ${MAX_GROUPS}u + group.x) * ${workgroup}u + local;`,
    "if (id >= p.total) { return; }",
    text.body,
    "}",
  ].join("\n");
  return {
    key: `${text.key}/wg${workgroup}`,
    code,
    access: [...text.reads.map(() => "read" as const), ...text.writes.map(() => "write" as const)],
    params,
    workgroup,
  };
}

/** A maker of kernels that writes each text once: a unit asks for the same ones hundreds of times. */
export function remembered<O>(make: (options: O) => Kernel): (options: O) => Kernel {
  const known = new Map<string, Kernel>();
  return (options) => {
    const key = JSON.stringify(options);
    const kernel = known.get(key) ?? make(options);
    known.set(key, kernel);
    return kernel;
  };
}

/** The WGSL type of `width` floats. */
export function vector(width: Width): string {
  return width === 1 ? "f32" : `vec${width}<f32>`;
}

/** Component `i` of a vector expression. */
export function component(expression: string, width: Width, i: number): string {
  return width === 1 ? expression : `${expression}.${"xyzw"[i]}`;
}

/** The widest vector that divides every given length. */
export function widthOf(...lengths: readonly number[]): Width {
  if (lengths.every((n) => n % 4 === 0)) return 4;
  return lengths.every((n) => n % 2 === 0) ? 2 : 1;
}

/** One text for each number below `n`, on lines of their own. */
export function repeat(n: number, text: (i: number) => string): string {
  return Array.from({ length: n }, (_, i) => text(i)).join("\n");
}

/** The same as a list with commas. */
export function list(n: number, text: (i: number) => string): string {
  return Array.from({ length: n }, (_, i) => text(i)).join(", ");
}

/** `silu(z)` and its slope for vectors of `width`, with z limited so that exp stays finite. */
export function silu(width: Width): string {
  const t = vector(width);
  return `fn sigmoid(z: ${t}) -> ${t} { return ${t}(1.0) / (${t}(1.0) + exp(clamp(-z, ${t}(-80.0), ${t}(80.0)))); }
fn silu(z: ${t}) -> ${t} { return z * sigmoid(z); }
fn siluSlope(z: ${t}) -> ${t} { let s = sigmoid(z); return s * (${t}(1.0) + z * (${t}(1.0) - s)); }`;
}

/** What the parameter `act` says of each activation. */
export const ACTIVATION: Readonly<Record<Activation, number>> = { none: 0, silu: 1, relu: 2 };

/** `act(z)` and `slope(z)` of the activation that the parameter `act` names: one kernel for all. */
export function activation(width: Width): string {
  const t = vector(width);
  return `${silu(width)}
fn act(z: ${t}) -> ${t} {
if (p.act == ${ACTIVATION.none}u) { return z; }
if (p.act == ${ACTIVATION.silu}u) { return silu(z); }
return max(z, ${t}(0.0));
}
fn slope(z: ${t}) -> ${t} {
if (p.act == ${ACTIVATION.none}u) { return ${t}(1.0); }
if (p.act == ${ACTIVATION.silu}u) { return siluSlope(z); }
return select(${t}(0.0), ${t}(1.0), z > ${t}(0.0));
}`;
}
