/** Numbers of the kernels' commands: the same list, in the same order, as `assembly/opcodes.ts`. */

export const COMMANDS = [
  "packForward",
  "packStanding",
  "packTurned",
  "linear",
  "linearWeightGrad",
  "sumParts",
  "convolution",
  "convolutionWeightGrad",
  "depthwise",
  "depthwiseSpread",
  "depthwiseWeightGrad",
  "batchNormSums",
  "batchNormFinish",
  "batchNormRunning",
  "batchNormApply",
  "batchNormGradSums",
  "batchNormGradApply",
  "layerNorm",
  "layerNormGrad",
  "attention",
  "attentionGrad",
  "silu",
  "siluGrad",
  "add",
  "dropout",
  "unfold",
  "concat",
  "split",
  "resize",
  "resizeGrad",
  "meanPool",
  "meanPoolGrad",
  "crossEntropy",
] as const;

export type CommandName = (typeof COMMANDS)[number];

const NUMBERS = new Map<CommandName, number>(COMMANDS.map((name, number) => [name, number]));

export function opcode(name: CommandName): number {
  return NUMBERS.get(name) as number;
}
