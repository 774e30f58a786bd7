/** The compute port across a thread's border, by comlink: both halves. */

import { type Endpoint, expose, proxy, type Remote, transfer, wrap } from "comlink";
import { type ComputePlatform, openCompute } from "../client/compute.ts";
import type { ComputePort } from "../client/compute-port.ts";

/** In the thread: serves a compute port of this platform. Frames are moved, not copied. */
export function exposeCompute(platform: ComputePlatform, endpoint?: Endpoint): void {
  const port = openCompute(platform);
  const served: ComputePort = {
    ...port,
    async compute(lease, onProgress) {
      const result = await port.compute(lease, onProgress);
      return result.ok ? transfer(result, [result.frame.buffer as ArrayBuffer]) : result;
    },
  };
  expose(served, endpoint);
}

/** Outside it: the port behind an endpoint. Calls stay unanswered if the thread dies. */
export function wrapCompute(endpoint: Endpoint): ComputePort {
  const remote: Remote<ComputePort> = wrap<ComputePort>(endpoint);
  return {
    probe: (backend) => remote.probe(backend),
    open: (run, origin) => remote.open(run, origin),
    prefetch: (lease) => remote.prefetch(lease),
    compute: (lease, onProgress) => remote.compute(lease, proxy(onProgress)),
    stop: (lease) => remote.stop(lease),
    setThrottle: (percent) => remote.setThrottle(percent),
    close: () => remote.close(),
  };
}
