/**
 * Appends to a forward graph the operations of its gradient, by reverse traversal. Gradients are
 * of the loss summed over samples; where a value is used more than once they are added.
 */

import type { Graph, Operation, Value, ValueId, ValueRole } from "./graph.ts";
import { operandsOf } from "./operands.ts";

export interface BackwardGraph {
  /** The forward graph, its gradient operations, and the wanted gradients among its outputs. */
  readonly graph: Graph;
  /** From each parameter (and each wanted input) to its gradient. */
  readonly gradients: ReadonlyMap<ValueId, ValueId>;
}

/**
 * The gradient of `forward`. `seeds` maps a result to the value that holds its gradient (both in
 * the graph already); `inputs` are uploaded values whose gradient is wanted too (none: pixels).
 */
export function backward(
  forward: Graph,
  seeds: ReadonlyMap<ValueId, ValueId>,
  inputs: readonly ValueId[] = [],
): BackwardGraph {
  const values: Value[] = [...forward.values];
  const operations: Operation[] = [...forward.operations];
  const wanted = differentiable(forward, inputs);
  const pending = new Map<ValueId, ValueId[]>();
  for (const [result, gradient] of seeds) pending.set(result, [gradient]);

  const value = (shape: readonly number[], role: ValueRole = { kind: "activation" }): ValueId => {
    values.push({ id: values.length, shape, role });
    return values.length - 1;
  };
  const like = (id: ValueId): ValueId => value(values[id].shape);
  const flow = (to: ValueId, gradient: ValueId) => {
    const parts = pending.get(to);
    if (parts) parts.push(gradient);
    else pending.set(to, [gradient]);
  };
  /** The gradient of a value once everything that uses it has been visited. */
  const gradientOf = (id: ValueId): ValueId | undefined => {
    const parts = pending.get(id);
    if (!parts) return undefined;
    while (parts.length > 1) {
      const [a, b] = parts.splice(0, 2);
      const y = like(id);
      operations.push({ op: "add", a, b, y });
      parts.unshift(y);
    }
    return parts[0];
  };
  /** A new value for the gradient of a parameter. */
  const parameterGradient = (id: ValueId): ValueId => {
    const { role, shape } = values[id];
    if (role.kind !== "parameter")
      throw new Error(`expected a parameter to differentiate by, got a value of kind ${role.kind}`);
    const gradient = value(shape, { kind: "gradient", parameter: role.name });
    flow(id, gradient);
    return gradient;
  };
  /** A new value for the gradient of an operation's input, unless nobody wants it. */
  const inputGradient = (id: ValueId): ValueId | undefined => {
    if (!wanted.has(id)) return undefined;
    const gradient = like(id);
    flow(id, gradient);
    return gradient;
  };
  const differentiate = (o: Operation, dy: ValueId) => {
    switch (o.op) {
      case "linear": {
        const dbias = o.bias === undefined ? undefined : parameterGradient(o.bias);
        operations.push({ op: "linearWeightGrad", x: o.x, dy, dw: parameterGradient(o.w), dbias });
        const dx = inputGradient(o.x);
        if (dx !== undefined) operations.push({ op: "linearInputGrad", dy, w: o.w, dx });
        return;
      }
      case "conv":
      case "depthwise": {
        const { x, w, stride, dilation } = o;
        const dw = parameterGradient(w);
        operations.push({ op: `${o.op}WeightGrad`, x, dy, dw, stride, dilation });
        const dx = inputGradient(x);
        if (dx !== undefined)
          operations.push({ op: `${o.op}InputGrad`, dy, w, dx, stride, dilation });
        return;
      }
      case "batchNorm": {
        const { x, gamma, beta, mean, rstd, act } = o;
        const dgamma = parameterGradient(gamma);
        const dbeta = parameterGradient(beta);
        const dx = inputGradient(x) ?? like(x);
        operations.push({
          op: "batchNormGrad",
          ...{ x, gamma, beta, mean, rstd, dy, dx, dgamma, dbeta, act },
        });
        return;
      }
      case "layerNorm": {
        const { x, gamma, mean, rstd } = o;
        const dgamma = parameterGradient(gamma);
        const dbeta = parameterGradient(o.beta);
        const dx = inputGradient(x) ?? like(x);
        operations.push({ op: "layerNormGrad", x, gamma, mean, rstd, dy, dx, dgamma, dbeta });
        return;
      }
      case "attention": {
        const { qkv, y, logSumExp, heads } = o;
        const dqkv = inputGradient(qkv);
        if (dqkv !== undefined)
          operations.push({ op: "attentionGrad", qkv, y, logSumExp, dy, dqkv, heads });
        return;
      }
      case "silu": {
        const dx = inputGradient(o.x);
        if (dx !== undefined) operations.push({ op: "siluGrad", x: o.x, dy, dx });
        return;
      }
      case "unfold":
      case "fold": {
        const dx = inputGradient(o.x);
        const inverse = o.op === "fold" ? "unfold" : "fold";
        if (dx !== undefined) operations.push({ op: inverse, x: dy, y: dx });
        return;
      }
      case "resize":
      case "meanPool": {
        const dx = inputGradient(o.x);
        if (dx !== undefined) operations.push({ op: `${o.op}Grad`, dy, dx });
        return;
      }
      case "dropout": {
        // The residual's gradient is dy itself.
        if (o.residual !== undefined && wanted.has(o.residual)) flow(o.residual, dy);
        const dx = inputGradient(o.x);
        if (dx !== undefined)
          operations.push({ op: "dropout", x: dy, y: dx, p: o.p, site: o.site });
        return;
      }
      case "add": {
        if (wanted.has(o.a)) flow(o.a, dy);
        if (wanted.has(o.b)) flow(o.b, dy);
        return;
      }
      case "concat": {
        const a = inputGradient(o.a) ?? like(o.a);
        const b = inputGradient(o.b) ?? like(o.b);
        operations.push({ op: "split", y: dy, a, b });
        return;
      }
      default:
        throw new Error(`${o.op} has no gradient; differentiate a training graph's forward part`);
    }
  };

  for (const operation of forward.operations.toReversed()) {
    if (operation.op === "crossEntropy") continue; // the seed is its dlogits
    const result = operandsOf(operation).writes[0];
    const dy = wanted.has(result) ? gradientOf(result) : undefined;
    if (dy !== undefined) differentiate(operation, dy);
  }

  const gradients = new Map<ValueId, ValueId>();
  for (const { id, role } of forward.values) {
    if (role.kind !== "parameter" && !inputs.includes(id)) continue;
    const gradient = gradientOf(id);
    if (gradient !== undefined) gradients.set(id, gradient);
  }
  const outputs = [...new Set([...forward.outputs, ...gradients.values()])];
  return { graph: { values, operations, outputs }, gradients };
}

/** Parameters, the given inputs, and everything computed from them. */
function differentiable(graph: Graph, inputs: readonly ValueId[]): Set<ValueId> {
  const reached = new Set<ValueId>(inputs);
  for (const { id, role } of graph.values) if (role.kind === "parameter") reached.add(id);
  for (const operation of graph.operations) {
    const { reads, writes } = operandsOf(operation);
    if (reads.some((id) => reached.has(id))) for (const id of writes) reached.add(id);
  }
  return reached;
}
