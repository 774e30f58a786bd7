/**
 * How plain loops become TF.js kernels on the two backends whose tensors lie in this process's
 * memory (`cpu`, `wasm`), for what those lack or do slowly.
 */

import * as tf from "@tensorflow/tfjs-core";

type HostBackend = "cpu" | "wasm";

/** Whether the current backend is one of them. */
export function onHost(): boolean {
  return ["cpu", "wasm"].includes(tf.getBackend());
}

/** Fills the outputs from the inputs; all are views of tensor memory, row-major. */
export type HostLoop<A> = (
  inputs: readonly Float32Array[],
  outputs: readonly Float32Array[],
  attributes: A,
) => void;

/** Runs a loop on tensors; `shapes` are those of its results. */
export type HostKernel<A> = (
  inputs: readonly tf.Tensor[],
  shapes: readonly (readonly number[])[],
  attributes: A,
) => tf.Tensor[];

interface WasmStorage extends tf.KernelBackend {
  makeOutput(shape: readonly number[], dtype: "float32"): tf.TensorInfo;
  typedArrayFromHeap(info: tf.TensorInfo): Float32Array;
}

interface CpuStorage extends tf.KernelBackend {
  readSync(id: tf.DataId): Float32Array;
  makeTensorInfo(shape: readonly number[], dtype: "float32", values: Float32Array): tf.TensorInfo;
}

interface Call<A> {
  readonly shapes: readonly (readonly number[])[];
  readonly attributes: A;
}

/** Registers a loop as a TF.js kernel of a name and returns the function that runs it. */
export function hostKernel<A extends object>(name: string, loop: HostLoop<A>): HostKernel<A> {
  const kernelName = `swarmvit${name}`;
  for (const backendName of ["cpu", "wasm"] as const)
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) => {
        const list = Object.values(inputs) as tf.TensorInfo[];
        return runLoop(loop, backendName, backend, list, attrs as unknown as Call<A>);
      },
    });
  return (inputs, shapes, attributes) => {
    const named = Object.fromEntries(inputs.map((input, i) => [`input${i}`, input]));
    const call = { shapes, attributes } as unknown as tf.NamedAttrMap;
    return tf.engine().runKernel<tf.Tensor[]>(kernelName, named, call);
  };
}

function runLoop<A>(
  loop: HostLoop<A>,
  backend: HostBackend,
  storage: unknown,
  inputs: readonly tf.TensorInfo[],
  { shapes, attributes }: Call<A>,
): tf.TensorInfo[] {
  if (backend === "wasm") {
    const wasm = storage as WasmStorage;
    const view = (info: tf.TensorInfo) => wasm.typedArrayFromHeap(info);
    const outputs = shapes.map((shape) => wasm.makeOutput(shape, "float32")); // may grow the heap,
    loop(inputs.map(view), outputs.map(view), attributes); // so views come after
    return outputs;
  }
  const cpu = storage as CpuStorage;
  const outputs = shapes.map((shape) => new Float32Array(shape.reduce((a, b) => a * b, 1)));
  loop(
    inputs.map(({ dataId }) => cpu.readSync(dataId)),
    outputs,
    attributes,
  );
  return shapes.map((shape, i) => cpu.makeTensorInfo(shape, "float32", outputs[i]));
}
