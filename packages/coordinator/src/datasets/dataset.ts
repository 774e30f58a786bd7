/** What every dataset reader provides: classes, and two lists of lazily read samples. */

/** One image file as bytes. */
export interface EncodedImage {
  readonly bytes: Uint8Array;
  /**
   * Set by a reader that made `bytes` from raw pixels: an 8-bit PNG that decodes to exactly these,
   * one grey byte a pixel; packing then checks the decoded pixels against them.
   */
  readonly grey?: { readonly width: number; readonly height: number; readonly pixels: Uint8Array };
}

/** A list of labelled images; nothing is read before `read`. */
export interface SampleSource {
  readonly count: number;
  /** Class id of sample i, an index into the dataset's `classes`. */
  label(i: number): number;
  /** What messages call sample i: its path inside the dataset. */
  name(i: number): string;
  read(i: number): Promise<EncodedImage>;
}

/** An opened dataset. Its order of samples is fixed by its files, never by the file system. */
export interface Dataset {
  readonly name: string;
  readonly classes: readonly string[];
  readonly train: SampleSource;
  readonly validation: SampleSource;
  /** What was left out and why, a line each, for the log. */
  readonly notes: readonly string[];
  /** SHA-256 over the files' names and sizes, the split and its seed: equal means nothing changed. */
  readonly fingerprint: string;
  /** A few lines for people: layout, counts, classes, the smallest and largest class. */
  describe(): string;
}

/** How a dataset without validation data is split. */
export interface OpenOptions {
  readonly seed: number;
  /** Share of each class that becomes validation data, in (0, 1); unused where there is such data. */
  readonly validationFraction?: number;
}

/** `validationFraction` where none is given. */
export const DEFAULT_VALIDATION_FRACTION = 0.2;

/** Samples of each class. */
export function countPerClass(source: SampleSource, classes: number): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (let i = 0; i < source.count; i++) counts[source.label(i)]++;
  return counts;
}

/** The text of `Dataset.describe`. */
export function describeDataset(
  dataset: Omit<Dataset, "describe" | "fingerprint">,
  layout: string,
): string {
  const { name, classes, train, validation, notes } = dataset;
  const number = (n: number) => n.toLocaleString("en-US");
  const perClass = countPerClass(train, classes.length);
  const sorted = [...perClass].sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  const named = classes.slice(0, 10).join(", ") + (classes.length > 10 ? ", …" : "");
  return [
    `${name}: ${layout}`,
    `${number(train.count)} training and ${number(validation.count)} validation images`,
    `${classes.length} classes (${named})`,
    `training images a class: ${number(sorted[0])} to ${number(sorted[sorted.length - 1])}, median ${number(median)}`,
    ...notes,
  ].join("\n");
}
