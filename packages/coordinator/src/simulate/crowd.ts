/** The volunteers of a swarm: who is there, and who follows those that are gone. */

import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import type { DeviceModel } from "./device.ts";
import type { Line } from "./line.ts";
import type { SwarmConfig } from "./swarm-config.ts";
import type { OpenTally } from "./tally.ts";
import { openVolunteer, type SimulatedVolunteer } from "./volunteer.ts";
import type { Weather } from "./weather.ts";

export interface CrowdContext {
  readonly config: SwarmConfig;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly weather: Weather;
  readonly tally: OpenTally;
  openLine(volunteer: SimulatedVolunteer): Line | undefined;
}

export interface Crowd {
  /** Devices that can be given work and would do it. */
  readonly fit: readonly DeviceModel[];
  /** Everybody comes, and from now on some go. */
  begin(): void;
  /** The coordinator is gone, and all lines with it. */
  dropped(): void;
  /** An id was given to a device. */
  named(id: string, device: DeviceModel): void;
  isHonest(id: string): boolean;
}

/** Opens the crowd; nobody is there before it begins. */
export function openCrowd(context: CrowdContext): Crowd {
  const { config, clock, chance, weather, tally, openLine } = context;
  const { arithmetic, chunkBytes, undecodable = new Set<number>() } = config;
  const volunteers = new Set<SimulatedVolunteer>();
  const honest = new Map<string, boolean>();

  const join = (device: DeviceModel, afterMs: number) => {
    const volunteer = openVolunteer({
      ...{ device, clock, chance, weather, arithmetic, undecodable, chunkBytes, openLine },
      runId: config.session.run.id,
    });
    volunteers.add(volunteer);
    tally.joined(volunteer);
    clock.after(afterMs, volunteer.connect);
  };
  const follow = (volunteer: SimulatedVolunteer, afterMs: number) => {
    volunteers.delete(volunteer);
    tally.left(volunteer);
    join(volunteer.device, afterMs);
  };
  const replaceGone = () => {
    const gone = [...volunteers].find((volunteer) => volunteer.gone);
    if (gone) {
      follow(gone, 0);
      if (!weather.isRough) weather.faulted(clock.now + 2000);
    }
    clock.after(chance.between(1000, 10_000), replaceGone);
  };
  const untilNextChurn = () =>
    (-Math.log(1 - chance.next()) * 60_000) / (config.churn * config.devices.length);
  const churn = () => {
    const all = [...volunteers];
    const leaving = all[chance.below(all.length)];
    leaving.quit();
    follow(leaving, config.joinMs);
    clock.after(untilNextChurn(), churn);
  };

  return {
    get fit() {
      return [...volunteers].flatMap(({ fit, device }) => (fit ? [device] : []));
    },
    begin() {
      const isTiny = arithmetic === "tiny";
      for (const device of config.devices)
        join(device, isTiny ? chance.between(0, 2000) : config.joinMs);
      if (isTiny) clock.after(5000, replaceGone);
      if (config.churn > 0) clock.after(untilNextChurn(), churn);
    },
    dropped() {
      for (const volunteer of volunteers) volunteer.dropped();
    },
    named(id, device) {
      honest.set(id, device.honest);
    },
    isHonest: (id) => honest.get(id) ?? true,
  };
}
