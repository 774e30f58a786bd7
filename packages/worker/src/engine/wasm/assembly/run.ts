/**
 * The interpreter of programs: a program is a list of commands `[opcode, tasks, words, arguments…]`.
 * The tasks of a command are independent, and which bits they produce does not depend on who does
 * them; threads take them one after the other and meet at a barrier after each command.
 */

import { attention, attentionGrad } from "./attention";
import {
  batchNormApply,
  batchNormFinish,
  batchNormGradApply,
  batchNormGradSums,
  batchNormRunning,
  batchNormSums,
} from "./batch-norm";
import { convolution, convolutionWeightGrad, packTurned } from "./convolution";
import { depthwise, depthwiseSpread } from "./depthwise";
import { depthwiseWeightGrad } from "./depthwise-weight";
import { add, dropout, silu, siluGrad } from "./elementwise";
import { layerNorm, layerNormGrad } from "./layer-norm";
import { crossEntropy } from "./loss";
import * as op from "./opcodes";
import { linear, linearWeightGrad, packForward, packStanding, sumParts } from "./product";
import { concat, split, unfold } from "./rearrange";
import { meanPool, meanPoolGrad, resize, resizeGrad } from "./resize";

/** Looks at a word this often before sleeping on it: a few tens of microseconds. */
const SPINS = 20000;

// Byte offsets in the control block, each on its own cache line.
const START = 0; // number of programs started
const PROGRAM = 4;
const END = 8;
const THREADS = 12;
const STOP = 16;
const SCRATCH = 20; // scratch memory of thread 0; the others' follows
const SCRATCH_BYTES = 24; // of each thread
const TASK = 64; // next task of the current command
const ARRIVED = 128; // threads that are through with it
const PASSED = 192; // barriers passed

// Waiting goes through JavaScript's Atomics: with `memory.atomic.wait32` in a loop the baseline
// compiler of V8 11.3 (Node 20) loses locals, and a program never ends.
/** Sleeps while the word is `old`. */
@external("env", "sleep")
declare function sleep(word: usize, old: i32): void;
/** Wakes all who sleep on the word. */
@external("env", "wake")
declare function wake(word: usize): void;

/** Runs commands from `program` up to `end` on one thread. */
export function run(program: usize, end: usize, scratch: usize): void {
  for (let at = program; at < end; at += (<usize>i32.load(at, 8)) << 2) {
    const tasks = i32.load(at, 4);
    for (let task = 0; task < tasks; task++) execute(at, task, scratch);
  }
}

/** Runs a program together with the threads that `serve` this control block. */
export function runTogether(
  control: usize,
  program: usize,
  end: usize,
  scratch: usize,
  scratchBytes: usize,
): void {
  if (!ASC_FEATURE_THREADS) return;
  i32.store(control, <i32>scratch, SCRATCH);
  i32.store(control, <i32>scratchBytes, SCRATCH_BYTES);
  i32.store(control, <i32>program, PROGRAM);
  i32.store(control, <i32>end, END);
  i32.store(control, 0, TASK);
  atomic.add<i32>(control + START, 1);
  wake(control + START);
  share(control, program, end, scratch);
}

/** The life of a helping thread: waits for programs and takes its part, until told to stop. */
export function serve(control: usize, thread: i32, seen: i32): void {
  if (!ASC_FEATURE_THREADS) return;
  while (true) {
    awaitChange(control + START, seen);
    if (atomic.load<i32>(control + STOP)) return;
    seen++;
    const scratch = word(control + SCRATCH) + word(control + SCRATCH_BYTES) * <usize>thread;
    share(control, word(control + PROGRAM), word(control + END), scratch);
  }
}

/** An address kept in the control block. */
@inline
function word(at: usize): usize {
  return <usize>load<u32>(at);
}

function share(control: usize, program: usize, end: usize, scratch: usize): void {
  let at = program;
  while (at < end) {
    const tasks = i32.load(at, 4);
    // read now: after the last barrier the program may be overwritten by the next
    const next = at + ((<usize>i32.load(at, 8)) << 2);
    while (true) {
      const task = atomic.add<i32>(control + TASK, 1);
      if (task >= tasks) break;
      execute(at, task, scratch);
    }
    meet(control);
    at = next;
  }
}

/** The barrier: returns when all threads have come; the last resets the count of tasks. */
function meet(control: usize): void {
  const passed = atomic.load<i32>(control + PASSED);
  if (atomic.add<i32>(control + ARRIVED, 1) + 1 == i32.load(control, THREADS)) {
    i32.store(control, 0, TASK);
    i32.store(control, 0, ARRIVED);
    atomic.store<i32>(control + PASSED, passed + 1);
    wake(control + PASSED);
  } else {
    awaitChange(control + PASSED, passed);
  }
}

/** Returns once the word is no longer `old`. */
function awaitChange(word: usize, old: i32): void {
  for (let i = 0; i < SPINS; i++) {
    if (atomic.load<i32>(word) != old) return;
  }
  while (atomic.load<i32>(word) == old) sleep(word, old);
}

function execute(command: usize, task: i32, scratch: usize): void {
  switch (i32.load(command)) {
    case op.PACK_FORWARD:
      return packForward(command, task);
    case op.PACK_STANDING:
      return packStanding(command, task);
    case op.PACK_TURNED:
      return packTurned(command, task);
    case op.LINEAR:
      return linear(command, task, scratch);
    case op.LINEAR_WEIGHT_GRAD:
      return linearWeightGrad(command, task);
    case op.SUM_PARTS:
      return sumParts(command, task);
    case op.CONVOLUTION:
      return convolution(command, task, scratch);
    case op.CONVOLUTION_WEIGHT_GRAD:
      return convolutionWeightGrad(command, task, scratch);
    case op.DEPTHWISE:
      return depthwise(command, task);
    case op.DEPTHWISE_SPREAD:
      return depthwiseSpread(command, task, scratch);
    case op.DEPTHWISE_WEIGHT_GRAD:
      return depthwiseWeightGrad(command, task);
    case op.BATCH_NORM_SUMS:
      return batchNormSums(command, task);
    case op.BATCH_NORM_FINISH:
      return batchNormFinish(command, task);
    case op.BATCH_NORM_RUNNING:
      return batchNormRunning(command);
    case op.BATCH_NORM_APPLY:
      return batchNormApply(command, task);
    case op.BATCH_NORM_GRAD_SUMS:
      return batchNormGradSums(command, task);
    case op.BATCH_NORM_GRAD_APPLY:
      return batchNormGradApply(command, task);
    case op.LAYER_NORM:
      return layerNorm(command, task);
    case op.LAYER_NORM_GRAD:
      return layerNormGrad(command, task);
    case op.ATTENTION:
      return attention(command, task, scratch);
    case op.ATTENTION_GRAD:
      return attentionGrad(command, task, scratch);
    case op.SILU:
      return silu(command, task);
    case op.SILU_GRAD:
      return siluGrad(command, task);
    case op.ADD:
      return add(command, task);
    case op.DROPOUT:
      return dropout(command, task);
    case op.UNFOLD:
      return unfold(command, task);
    case op.CONCAT:
      return concat(command, task);
    case op.SPLIT:
      return split(command, task);
    case op.RESIZE:
      return resize(command, task);
    case op.RESIZE_GRAD:
      return resizeGrad(command, task);
    case op.MEAN_POOL:
      return meanPool(command, task);
    case op.MEAN_POOL_GRAD:
      return meanPoolGrad(command, task);
    case op.CROSS_ENTROPY:
      return crossEntropy(command, scratch);
  }
}
