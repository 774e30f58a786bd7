/**
 * Stands between volunteers and a coordinator, in a process that outlives it, and writes down what
 * it tells them: which step is open, and the hash of the weights to take its gradients at.
 */

import { type AddressInfo, createServer, connect as openConnection, type Socket } from "node:net";

export interface OracleRelay {
  readonly url: string;
  /** Hash of the weights after each number of steps, as volunteers were told. */
  readonly told: ReadonlyMap<number, string>;
  /** What was told otherwise than before, in words: must stay empty. */
  readonly contradictions: readonly string[];
  /** Where the coordinator listens now; undefined while there is none: connections are refused. */
  target(port: number | undefined): void;
  /** Resolves after so many more packets have come from volunteers. */
  packets(count: number): Promise<void>;
  /** Resolves when volunteers are told of a step of at least this number. */
  step(least: number): Promise<void>;
  close(): Promise<void>;
}

const HASH = /"weights":"([0-9a-f]{64})"/;
const LEASE = '["lease",';

export async function openOracleRelay(): Promise<OracleRelay> {
  const told = new Map<number, string>();
  const contradictions: string[] = [];
  const sockets = new Set<Socket>();
  const waiting = new Set<() => boolean>();
  let target: number | undefined;
  let received = 0;

  const check = () => {
    for (const done of waiting) if (done()) waiting.delete(done);
  };
  const until = (isDone: () => boolean) =>
    new Promise<void>((resolve) => {
      waiting.add(() => {
        if (isDone()) resolve();
        return isDone();
      });
      check();
    });
  const note = (lease: string): boolean => {
    const step = lease.match(/"step":(\d+)/)?.[1];
    const weights = lease.match(HASH)?.[1];
    if (step === undefined || weights === undefined) return false;
    if (lease.includes('"kind":"evaluation"')) return true;
    const before = told.get(Number(step));
    if (before !== undefined && before !== weights)
      contradictions.push(`step ${step}: ${before}, then ${weights}`);
    told.set(Number(step), weights);
    return true;
  };

  const server = createServer((from) => {
    if (target === undefined) {
      from.destroy();
      return;
    }
    const to = openConnection(target, "127.0.0.1");
    let tail = "";
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.once("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    from.on("data", () => {
      received++;
      check();
    });
    to.on("data", (bytes: Buffer) => {
      tail += bytes.toString("latin1");
      for (let at = tail.indexOf(LEASE); at >= 0; at = tail.indexOf(LEASE)) {
        const next = tail.indexOf(LEASE, at + 1);
        if (!note(tail.slice(at, next < 0 ? undefined : next))) break;
        tail = tail.slice(at + LEASE.length);
      }
      if (!tail.includes(LEASE)) tail = tail.slice(-LEASE.length);
      check();
    });
    from.pipe(to);
    to.pipe(from);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}/`,
    told,
    contradictions,
    target(at) {
      target = at;
    },
    packets(count) {
      const end = received + count;
      return until(() => received >= end);
    },
    step: (least) => until(() => Math.max(-1, ...told.keys()) >= least),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
