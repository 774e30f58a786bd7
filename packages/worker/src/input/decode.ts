/** What a volunteer asks of a decoder: pixels, the same in a browser and in Node. */

/** One image, 8 bits a channel, rows from the top. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3], sRGB as stored: no colour profile applied. */
  readonly rgb: Uint8Array | Uint8ClampedArray;
}

/**
 * Decodes one encoded image of a shard (an opaque, upright, 8-bit PNG, JPEG or WebP); rejects where
 * the bytes cannot be decoded.
 */
export type Decode = (bytes: Uint8Array) => Promise<Pixels>;

/** Thrown where a sample's bytes are no image: the coordinator then strikes it from the plan. */
export class UndecodableSample extends Error {
  override readonly name = "UndecodableSample";
  /** Sample id in its split. */
  readonly sample: number;

  constructor(sample: number, options?: ErrorOptions) {
    const cause = options?.cause;
    const reason = cause instanceof Error ? cause.message : String(cause ?? "unknown reason");
    super(`Sample ${sample} cannot be decoded: ${reason}`, options);
    this.sample = sample;
  }
}
