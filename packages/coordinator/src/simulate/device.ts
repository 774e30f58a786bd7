/** The kinds of devices that a simulated swarm is made of. */

import type { LinkSpeed } from "./link.ts";

/** A kind of device. */
export interface DeviceModel extends LinkSpeed {
  /** Shown in tables: its speed class. */
  readonly name: string;
  /** Pixels a millisecond. */
  readonly speed: number;
  /** A unit takes 1 ± this times what the speed says. */
  readonly jitter: number;
  readonly memoryBytes: number;
  /** Leases held at once. */
  readonly want: number;
  /** False: it may send what is worth nothing. */
  readonly honest: boolean;
}
