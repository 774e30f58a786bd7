import { readFileSync } from "node:fs";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import { encodeModel, identifyModel, readModel } from "@swarmvit/shared/model-weights";
import { parameterTable } from "@swarmvit/shared/parameters";
import {
  DTYPE_BYTES,
  type Dtype,
  decodeSafetensors,
  encodeSafetensors,
  floatTensor,
  type SafeTensor,
  SafetensorsError,
  tensorFloats,
} from "@swarmvit/shared/safetensors";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const tensorArbitrary: fc.Arbitrary<SafeTensor> = fc
  .record({
    dtype: fc.constantFrom(...(Object.keys(DTYPE_BYTES) as Dtype[])),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
    seed: fc.nat(255),
  })
  .map(({ dtype, shape, seed }) => ({
    dtype,
    shape,
    bytes: new Uint8Array(shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype])).fill(seed),
  }));
const filesArbitrary = fc.dictionary(
  fc.string({ minLength: 1 }).filter((name) => name !== "__metadata__" && name !== "__proto__"),
  tensorArbitrary,
  { maxKeys: 6 },
);

describe("safetensors", () => {
  it("gives back what was written", () => {
    fc.assert(
      fc.property(filesArbitrary, fc.dictionary(fc.string(), fc.string()), (tensors, metadata) => {
        const read = decodeSafetensors(
          encodeSafetensors(new Map(Object.entries(tensors)), metadata),
        );
        expect(read.tensors.size).toBe(Object.keys(tensors).length);
        for (const [name, tensor] of Object.entries(tensors)) {
          const got = read.tensors.get(name)!;
          expect(got.dtype).toBe(tensor.dtype);
          expect(got.shape).toEqual(tensor.shape);
          expect(Buffer.compare(got.bytes, tensor.bytes)).toBe(0);
        }
        expect({ ...read.metadata }).toEqual({ ...metadata });
      }),
      { numRuns: 200 },
    );
  });

  it("refuses damaged files with its own error and nothing else", () => {
    const good = encodeSafetensors(
      new Map([
        ["a", floatTensor([2, 2], Float32Array.of(1, 2, 3, 4))],
        ["b", floatTensor([1], Float32Array.of(5))],
      ]),
      { step: "1" },
    );
    const damage = fc.record({
      at: fc.nat(good.length - 1),
      value: fc.nat(255),
      cut: fc.nat(good.length),
      append: fc.boolean(),
    });
    fc.assert(
      fc.property(damage, ({ at, value, cut, append }) => {
        const bad = append ? Uint8Array.from([...good, value]) : good.slice(0, cut);
        if (at < bad.length) bad[at] = value;
        try {
          decodeSafetensors(bad);
        } catch (error) {
          expect(error).toBeInstanceOf(SafetensorsError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  const header = (json: string, data = 0) => {
    const text = new TextEncoder().encode(json);
    const file = new Uint8Array(8 + text.length + data);
    new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
    file.set(text, 8);
    return file;
  };
  const entry = (begin: number, end: number, shape = [1]) =>
    JSON.stringify({ dtype: "F32", shape, data_offsets: [begin, end] });

  it.each([
    ["a gap", header(`{"a":${entry(4, 8)}}`, 8), /starts at 4, expected 0/],
    ["an overlap", header(`{"a":${entry(0, 4)},"b":${entry(0, 4)}}`, 4), /gap or overlap/],
    ["a duplicate", header(`{"a":${entry(0, 4)},"\\u0061":${entry(0, 4)}}`, 4), /a twice/],
    ["a tail", header(`{"a":${entry(0, 4)}}`, 8), /appended/],
    ["a wrong size", header(`{"a":${entry(0, 4, [2])}}`, 4), /takes 8 bytes/],
    ["metadata of numbers", header('{"__metadata__":{"step":1}}'), /must be a string/],
    ["an unknown dtype", header('{"a":{"dtype":"F8","shape":[],"data_offsets":[0,1]}}', 1), /F8/],
    ["a huge header", Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127), /does not fit/],
    ["nothing", new Uint8Array(0), /at least 8 bytes/],
  ])("refuses %s", (_, file, message) => {
    expect(() => decodeSafetensors(file)).toThrow(message);
  });

  it("reads float16", () => {
    const bytes = new Uint8Array(new Uint16Array([0x3c00, 0xc000]).buffer);
    expect([...tensorFloats({ dtype: "F16", shape: [2], bytes })]).toEqual([1, -2]);
  });
});

describe("weights files", () => {
  const table = parameterTable("xxs", 10);
  const parameters = initialParameters(table, 7);
  const statistics = initialStatistics(table);
  const classes = Array.from({ length: 10 }, (_, i) => `class ${i}`);
  const file = encodeModel(table, parameters, statistics, { which: "ema", classes, step: 3 });

  it("come back bit-equal, with timm's names, shapes and counters", () => {
    const read = readModel(file, table);
    expect(
      Buffer.compare(Buffer.from(read.parameters.buffer), Buffer.from(parameters.buffer)),
    ).toBe(0);
    expect(read.statistics).toEqual(statistics);
    expect(read.metadata).toMatchObject({ format: "pt", which: "ema", variant: "xxs", step: "3" });
    expect(JSON.parse(read.metadata.classes)).toEqual(classes);
    const { tensors } = decodeSafetensors(file);
    const manifest: { tensors: { name: string; shape: number[] }[] } = JSON.parse(
      readFileSync("test/golden/manifest_xxs.json", "utf8"),
    );
    const counters = [...tensors.keys()].filter((name) => name.endsWith("num_batches_tracked"));
    expect(counters.length).toBe(32);
    const names = [...tensors.keys()].filter((name) => !counters.includes(name));
    expect(names).toEqual(manifest.tensors.map(({ name }) => name));
    for (const { name, shape } of manifest.tensors)
      if (!name.startsWith("head.")) expect(tensors.get(name)!.shape).toEqual(shape);
  });

  it("of another variant or class count are refused by name", () => {
    expect(() => readModel(file, parameterTable("xs", 10))).toThrow(
      /stages\.0\.0\.conv1_1x1.*expected \[64, 16, 1, 1\], got \[32, 16, 1, 1\].*holds mobilevit_xxs with 10 classes/,
    );
    expect(() => readModel(file, parameterTable("xxs", 1000))).toThrow(
      /head\.fc\.weight: expected \[1000, 320\], got \[10, 320\].*with 10 classes, not mobilevit_xxs with 1000/,
    );
    expect(identifyModel(file)).toMatchObject({ variant: "xxs", classes: 10 });
    expect(identifyModel(encodeSafetensors(new Map()))).toBeUndefined();
  });

  it("with a value that is not finite are refused", () => {
    const broken = parameters.slice();
    broken[5] = Number.NaN;
    const bad = encodeModel(table, broken, statistics, { which: "raw", classes, step: 0 });
    expect(() => readModel(bad, table)).toThrow(/stem\.conv\.weight.*not finite/);
  });
});
