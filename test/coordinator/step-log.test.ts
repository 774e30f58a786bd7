// The write-ahead log by itself, and replays of it to the same bits.

import { openChance } from "@swarmvit/coordinator/simulate/chance";
import type { Codec } from "@swarmvit/shared/codec";
import { describe, expect, it } from "vitest";
import { openStepLog, readStepLog } from "../../packages/coordinator/src/storage/step-log.ts";
import type { Commitment } from "../../packages/coordinator/src/vectors/vector-port.ts";
import { openVectorWork } from "../../packages/coordinator/src/vectors/vector-work.ts";
import { openSimulatedDisk, type SimulatedDisk } from "../support/simulated-disk.ts";
import { commitTiny, initializeTiny, TINY_TABLE, tinySetup } from "../support/tiny-vectors.ts";

const LOG = "/run/wal";
const text = (body: Uint8Array) => Buffer.from(body).toString("utf8");
const bodyOf = (step: number) => [Buffer.from(`step ${step}: `), Buffer.from("x".repeat(step))];
const diskOf = () => {
  const disk = openSimulatedDisk(openChance(1));
  disk.makeDirectory("/run");
  return disk;
};
const read = (disk: SimulatedDisk, after = 0) => {
  const steps: string[] = [];
  const end = readStepLog(disk, LOG, after, (step, body) => {
    expect(text(body)).toBe(bodyOf(step).map(text).join(""));
    steps.push(String(step));
    return undefined;
  });
  return { steps: steps.join(), ...end };
};
const write = async (disk: SimulatedDisk, from: number, to: number, rotateAt?: number) => {
  const log = openStepLog(disk, LOG);
  for (let step = from; step <= to; step++) {
    await log.append(step, bodyOf(step));
    if (step === rotateAt) log.rotate();
  }
  log.close();
};

describe("the log", () => {
  it("gives back what was appended, over files and lives, from any step", async () => {
    const disk = diskOf();
    await write(disk, 1, 6, 4);
    await write(disk, 7, 9);
    expect(disk.list(LOG)).toEqual(["step-0.log", "step-4.log", "step-6.log"]);
    expect(read(disk)).toMatchObject({ steps: "1,2,3,4,5,6,7,8,9", step: 9, why: "end" });
    expect(read(disk, 5)).toMatchObject({ steps: "6,7,8,9", why: "end" });
    expect(read(disk, 9)).toMatchObject({ steps: "", step: 9, why: "end" });
  });

  it("forgets whole files that a checkpoint covers, and steps that were rolled back", async () => {
    const disk = diskOf();
    await write(disk, 1, 6, 3);
    await write(disk, 7, 8);
    const log = openStepLog(disk, LOG);
    log.prune(3);
    expect(read(disk, 3)).toMatchObject({ steps: "4,5,6,7,8" });
    expect(read(disk)).toMatchObject({ steps: "", step: 0, why: "gap" });
    log.cut(5);
    expect(read(disk, 3)).toMatchObject({ steps: "4,5", why: "end" });
    await log.append(6, bodyOf(6));
    expect(read(disk, 3)).toMatchObject({ steps: "4,5,6", why: "end" });
  });

  it("loses only the last record when it is torn, at whichever byte", async () => {
    const whole = diskOf();
    await write(whole, 1, 4);
    const size = whole.size(`${LOG}/step-0.log`) ?? 0;
    const last = 16 + text(Buffer.concat(bodyOf(4))).length;
    for (let cut = size - last; cut < size; cut++) {
      const disk = diskOf();
      await write(disk, 1, 4);
      disk.damage(`${LOG}/step-0.log`, (bytes) => bytes.slice(0, cut));
      const why = cut === size - last ? "end" : "torn";
      expect(read(disk)).toMatchObject({ steps: "1,2,3", step: 3, why });
      await write(disk, 4, 5); // the next life goes on behind it
      expect(read(disk)).toMatchObject({ steps: "1,2,3,4,5", why: "end" });
    }
  });

  it("takes no record with a flipped bit, at whichever place, and says what is lost", async () => {
    const whole = diskOf();
    await write(whole, 1, 3);
    await write(whole, 4, 4);
    const size = whole.size(`${LOG}/step-0.log`) ?? 0;
    for (let at = 0; at < size; at++) {
      const disk = diskOf();
      await write(disk, 1, 3);
      await write(disk, 4, 4);
      disk.damage(`${LOG}/step-0.log`, (bytes) =>
        bytes.fill(bytes[at] ^ (1 << (at % 8)), at, at + 1),
      );
      const { steps, why } = read(disk);
      expect(["", "1", "1,2"]).toContain(steps);
      expect(["damaged", "gap"]).toContain(why);
    }
  });
});

describe("a restart", () => {
  const run = async (disk: SimulatedDisk, codec: Codec, steps: number, from = 0) => {
    const work = openVectorWork(tinySetup(codec), disk, TINY_TABLE);
    const restored = work.restore();
    if (!restored) initializeTiny(work);
    const replayed = work.replay();
    const hashes: string[] = [];
    let { parameters } = replayed.weights;
    for (let step = from; step < steps; step++) {
      const result = (await commitTiny(work, codec, step, 100 + step, parameters)) as Commitment;
      ({ parameters } = result.weights);
      hashes.push(JSON.stringify(result.weights));
      if ((step + 1) % 4 === 0)
        work.checkpoint({
          ...{ schema: 1, step: step + 1, struck: [], evaluatedAt: 0, fence: 1 },
          weights: result.weights,
        });
    }
    return { hashes, restored, replayed };
  };

  it.each(["f32", "f16", "int8"] as const)(
    "with %s comes to the same bits, wherever it was",
    async (codec) => {
      const whole = await run(diskOf(), codec, 11);
      for (let steps = 1; steps < 11; steps++) {
        const disk = diskOf();
        await run(disk, codec, steps);
        const { hashes, replayed } = await run(disk, codec, 11, steps);
        expect(JSON.stringify(replayed.weights)).toBe(whole.hashes[steps - 1]);
        expect(replayed.records.length).toBe(steps % 4);
        expect(hashes).toEqual(whole.hashes.slice(steps));
      }
    },
  );

  it("takes the checkpoint before a damaged one, aloud, and loses no step", async () => {
    const disk = diskOf();
    const { hashes } = await run(disk, "f16", 14);
    const damage = (step: number) =>
      disk.damage(`/run/checkpoints/step-${step}.safetensors`, (bytes) =>
        bytes.fill(1, 2000, 2001),
      );
    for (const [damaged, replays] of [
      [12, 6],
      [8, 10],
    ]) {
      damage(damaged);
      const { replayed, restored } = await run(disk, "f16", 14, 14);
      expect(JSON.stringify(replayed.weights)).toBe(hashes[13]);
      expect(replayed.records.length).toBe(replays);
      expect(restored?.warnings.join()).toMatch(/step-12.*is damaged/);
    }
  });
});
