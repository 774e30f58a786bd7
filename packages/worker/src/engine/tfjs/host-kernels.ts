/**
 * Kernels in plain loops for the two backends whose tensors lie in this process's memory (`cpu`,
 * `wasm`), for what they lack or do slowly: strided reads, filter gradients, splitting heads.
 */

import * as tf from "@tensorflow/tfjs-core";

export type HostBackend = "cpu" | "wasm";

/** Whether the current backend is one of them. */
export function onHost(): boolean {
  return ["cpu", "wasm"].includes(tf.getBackend());
}

/** Fills `output` from the inputs; all are views of tensor memory, row-major. */
export type HostLoop<A> = (
  inputs: readonly Float32Array[],
  output: Float32Array,
  attributes: A,
) => void;

interface WasmStorage extends tf.KernelBackend {
  makeOutput(shape: number[], dtype: "float32"): tf.TensorInfo;
  typedArrayFromHeap(info: tf.TensorInfo): Float32Array;
}

interface CpuStorage extends tf.KernelBackend {
  readSync(id: tf.DataId): Float32Array;
  makeTensorInfo(shape: number[], dtype: "float32", values: Float32Array): tf.TensorInfo;
}

/**
 * Registers a loop as a TF.js kernel and returns the function that runs it: given tensors, the
 * shape of the result and the loop's attributes.
 */
export function hostKernel<A extends object>(name: string, loop: HostLoop<A>) {
  const kernelName = `swarmvit${name}`;
  const run = (
    backend: HostBackend,
    storage: unknown,
    inputs: readonly tf.TensorInfo[],
    shape: number[],
    attributes: A,
  ): tf.TensorInfo => {
    if (backend === "wasm") {
      const wasm = storage as WasmStorage;
      const output = wasm.makeOutput(shape, "float32"); // before the views: it may grow the heap
      const views = inputs.map((input) => wasm.typedArrayFromHeap(input));
      loop(views, wasm.typedArrayFromHeap(output), attributes);
      return output;
    }
    const cpu = storage as CpuStorage;
    const output = new Float32Array(shape.reduce((a, b) => a * b, 1));
    loop(
      inputs.map((input) => cpu.readSync(input.dataId)),
      output,
      attributes,
    );
    return cpu.makeTensorInfo(shape, "float32", output);
  };
  for (const backendName of ["cpu", "wasm"] as const)
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) => {
        const { shape, attributes } = attrs as unknown as { shape: number[]; attributes: A };
        const list = Object.keys(inputs)
          .sort()
          .map((key) => inputs[key] as tf.TensorInfo);
        return run(backendName, backend, list, shape, attributes);
      },
    });
  return (inputs: readonly tf.Tensor[], shape: readonly number[], attributes: A): tf.Tensor => {
    const named = Object.fromEntries(inputs.map((input, i) => [`input${i}`, input]));
    return tf.engine().runKernel(kernelName, named, {
      shape: [...shape],
      attributes,
    } as unknown as tf.NamedAttrMap);
  };
}

export interface ConvShape {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly stride: number;
  readonly dilation: number;
}

/** Column matrix of a 3x3 convolution, transposed: [B, H, W, C] → [9·C, B·H'·W']. */
export const patches = hostKernel<ConvShape>("Patches", ([x], out, s) => {
  const positions = s.batch * s.outHeight * s.outWidth;
  for (let tap = 0; tap < 9; tap++) {
    const offsetY = (Math.floor(tap / 3) - 1) * s.dilation;
    const offsetX = ((tap % 3) - 1) * s.dilation;
    let position = 0;
    const row0 = tap * s.channels * positions;
    for (let b = 0; b < s.batch; b++)
      for (let oy = 0; oy < s.outHeight; oy++) {
        const y = oy * s.stride + offsetY;
        for (let ox = 0; ox < s.outWidth; ox++, position++) {
          const at = ox * s.stride + offsetX;
          const inside = y >= 0 && y < s.height && at >= 0 && at < s.width;
          let to = row0 + position;
          if (inside) {
            let from = ((b * s.height + y) * s.width + at) * s.channels;
            const end = from + s.channels;
            for (; from < end; from++, to += positions) out[to] = x[from];
          } else {
            for (let c = 0; c < s.channels; c++, to += positions) out[to] = 0;
          }
        }
      }
  }
});

/** Filter gradient of a depthwise 3x3 convolution: x [B, H, W, C], dy [B, H', W', C] → [3, 3, C]. */
export const depthwiseFilterGrad = hostKernel<ConvShape>(
  "DepthwiseFilterGrad",
  ([x, dy], out, s) => {
    const { channels } = s;
    const sum = new Float64Array(channels);
    for (let tap = 0; tap < 9; tap++) {
      const offsetY = (Math.floor(tap / 3) - 1) * s.dilation;
      const offsetX = ((tap % 3) - 1) * s.dilation;
      sum.fill(0);
      for (let b = 0; b < s.batch; b++)
        for (let oy = 0; oy < s.outHeight; oy++) {
          const y = oy * s.stride + offsetY;
          if (y < 0 || y >= s.height) continue;
          for (let ox = 0; ox < s.outWidth; ox++) {
            const at = ox * s.stride + offsetX;
            if (at < 0 || at >= s.width) continue;
            const xRow = ((b * s.height + y) * s.width + at) * channels;
            const dyRow = ((b * s.outHeight + oy) * s.outWidth + ox) * channels;
            for (let c = 0; c < channels; c++) sum[c] += x[xRow + c] * dy[dyRow + c];
          }
        }
      for (let c = 0; c < channels; c++) out[tap * channels + c] = sum[c];
    }
  },
);

/** Σ over rows, in float64: [M, C] → [C]. */
export const columnSums = hostKernel<object>("ColumnSums", ([x], out) => {
  const channels = out.length;
  const sum = new Float64Array(channels);
  for (let row = 0; row < x.length; row += channels)
    for (let c = 0; c < channels; c++) sum[c] += x[row + c];
  out.set(sum);
});

/** Σ over rows of a·b, in float64: [M, C], [M, C] → [C]. */
export const columnDots = hostKernel<object>("ColumnDots", ([a, b], out) => {
  const channels = out.length;
  const sum = new Float64Array(channels);
  for (let row = 0; row < a.length; row += channels)
    for (let c = 0; c < channels; c++) sum[c] += a[row + c] * b[row + c];
  out.set(sum);
});

export interface HeadShape {
  readonly sequences: number;
  readonly positions: number;
  readonly heads: number;
  readonly headDim: number;
  /** Channels of a row of the merged tensor (d or 3d), and where this part starts in it. */
  readonly rowChannels: number;
  readonly start: number;
}

/** Channels `start` … of [S, N, rowChannels] as heads: [S, heads, N, headDim]. */
export const splitHeads = hostKernel<HeadShape>("SplitHeads", ([x], out, s) => {
  let to = 0;
  for (let sequence = 0; sequence < s.sequences; sequence++)
    for (let head = 0; head < s.heads; head++)
      for (let n = 0; n < s.positions; n++) {
        const from = (sequence * s.positions + n) * s.rowChannels + s.start + head * s.headDim;
        for (let c = 0; c < s.headDim; c++) out[to++] = x[from + c];
      }
});

/** One or three tensors [S, heads, N, headDim] side by side: [S, N, rowChannels]. */
export const mergeHeads = hostKernel<Omit<HeadShape, "start">>("MergeHeads", (parts, out, s) => {
  parts.forEach((part, i) => {
    let from = 0;
    const start = i * s.heads * s.headDim;
    for (let sequence = 0; sequence < s.sequences; sequence++)
      for (let head = 0; head < s.heads; head++)
        for (let n = 0; n < s.positions; n++) {
          const to = (sequence * s.positions + n) * s.rowChannels + start + head * s.headDim;
          for (let c = 0; c < s.headDim; c++) out[to + c] = part[from++];
        }
  });
});
