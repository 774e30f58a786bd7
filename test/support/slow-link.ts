/** A link with a slow uplink: a relay on a real port that passes on so many bytes a second, and no more. */

import { type AddressInfo, createServer, connect as openConnection, type Socket } from "node:net";

export interface SlowLink {
  readonly url: string;
  close(): Promise<void>;
}

const SLICE_MS = 20;

/** Opens the link to a coordinator's port; what comes back is as fast as this machine. */
export async function openSlowLink(port: number, upBytesPerSecond: number): Promise<SlowLink> {
  const sockets = new Set<Socket>();
  const server = createServer((from) => {
    const to = openConnection(port, "127.0.0.1");
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => socket.destroy());
      socket.once("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    to.pipe(from);
    passSlowly(from, to, (upBytesPerSecond * SLICE_MS) / 1000);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Reads no more than it may pass on: the rest waits in the sender, as it does at a slow modem. */
function passSlowly(from: Socket, to: Socket, bytesPerSlice: number): void {
  let allowance = 0;
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  from.on("data", (bytes: Buffer) => {
    waiting.push(bytes);
    waitingBytes += bytes.byteLength;
    from.pause();
  });
  const timer = setInterval(() => {
    allowance = Math.min(2 * bytesPerSlice, allowance + bytesPerSlice);
    const all = waiting.length > 1 ? Buffer.concat(waiting) : waiting[0];
    if (all) {
      const now = Math.min(Math.floor(allowance), all.byteLength);
      to.write(all.subarray(0, now));
      allowance -= now;
      waitingBytes -= now;
      waiting = waitingBytes > 0 ? [all.subarray(now)] : [];
    }
    if (waitingBytes === 0) from.resume();
  }, SLICE_MS);
  from.once("close", () => clearInterval(timer));
}
