/**
 * Whose fault a refusal is (DESIGN section 2): what two distinct volunteers refuse, or the only one
 * twice, is the unit's fault and not theirs.
 */

export interface PoisonWatch {
  /** A sample could not be decoded: true when it is to be struck. */
  undecodable(sample: number, unit: number, volunteer: string, isOnly: boolean): boolean;
  /** A single unit's sum was not a usable number: true when it is the unit's fault. */
  unusable(unit: number, volunteer: string, isOnly: boolean): boolean;
  /** One of several units was at fault, unknown which: from now on each is given alone. */
  suspect(first: number, end: number, volunteer: string): void;
  /** Any other refusal: the units rather go to somebody else. */
  avoid(first: number, end: number, volunteer: string): void;
  isAlone(unit: number): boolean;
  /** True while no unit is to be kept from anybody. */
  isClean(): boolean;
  /** Volunteers that the unit rather not go to. */
  avoided(unit: number): ReadonlySet<string> | undefined;
}

/** Opens a watch over one piece of work. */
export function openPoisonWatch(): PoisonWatch {
  const samples = new Map<number, string[]>();
  const units = new Map<number, string[]>();
  const alone = new Set<number>();
  const avoided = new Map<number, Set<string>>();

  const report = (reports: Map<number, string[]>, key: number, by: string, isOnly: boolean) => {
    const list = [...(reports.get(key) ?? []), by];
    reports.set(key, list);
    const own = list.filter((volunteer) => volunteer === by).length;
    return new Set(list).size >= 2 || (isOnly && own >= 2);
  };
  const avoid = (first: number, end: number, volunteer: string) => {
    for (let unit = first; unit < end; unit++) {
      const set = avoided.get(unit) ?? new Set();
      set.add(volunteer);
      avoided.set(unit, set);
    }
  };

  return {
    undecodable(sample, unit, volunteer, isOnly) {
      avoid(unit, unit + 1, volunteer);
      alone.add(unit);
      return report(samples, sample, volunteer, isOnly);
    },
    unusable(unit, volunteer, isOnly) {
      avoid(unit, unit + 1, volunteer);
      return report(units, unit, volunteer, isOnly);
    },
    suspect(first, end, volunteer) {
      avoid(first, end, volunteer);
      for (let unit = first; unit < end; unit++) alone.add(unit);
    },
    avoid,
    isAlone: (unit) => alone.has(unit),
    isClean: () => avoided.size === 0,
    avoided: (unit) => avoided.get(unit),
  };
}
