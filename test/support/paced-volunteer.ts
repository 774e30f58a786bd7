/** A volunteer that answers rightly and takes its time, as a device does that computes. */

import type { RawVolunteer } from "./cluster.ts";

/** Answers leases, `paceMs` for each unit, until the link is gone. What is revoked is dropped between units. */
export async function servePaced(volunteer: RawVolunteer, paceMs: number): Promise<void> {
  const { socket } = volunteer;
  const revoked = new Set<number>();
  socket.on("revoke", ({ lease }) => revoked.add(lease));
  try {
    while (socket.connected) {
      const lease = await volunteer.nextLease();
      for (let i = 0; i < lease.units.length && !revoked.has(lease.lease); i++)
        await new Promise((resolve) => setTimeout(resolve, paceMs));
      if (revoked.delete(lease.lease)) continue;
      // Told truly: what is not computing would count as the line's, which no second unit takes again.
      const frame = volunteer.frameOf(lease, paceMs * lease.units.length);
      await volunteer.upload(lease, frame);
    }
  } catch {
    // The link is gone: whoever ended it knows.
  }
}
