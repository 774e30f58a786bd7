/** What everyone may know about a run: the state that pages show and the lines of metrics.jsonl. */

export type Phase = "waiting" | "training" | "paused" | "evaluating" | "diverged" | "done";

/** One row of the table of volunteers. */
export interface VolunteerRow {
  readonly id: string;
  readonly name: string;
  /** E.g. "webgpu · NVIDIA RTX 3060" or "wasm · node". */
  readonly device: string;
  readonly executor: string;
  readonly connected: boolean;
  readonly state: "idle" | "computing" | "paused" | "gone";
  /** Moving average of images a second while computing. */
  readonly imagesPerSecond: number;
  /** Counts of leases. */
  readonly accepted: number;
  readonly refused: number;
  readonly expired: number;
  /** Accepted training samples. */
  readonly samples: number;
  readonly leases: number;
  readonly lastStep: number;
  readonly joinedAt: number;
}

/** `/api/run`, and what the dashboard's socket sends: a full snapshot, small enough for 4 Hz. */
export interface RunState {
  readonly name: string;
  /** 16 hex digits. */
  readonly id: string;
  readonly phase: Phase;
  /** Why it waits, is paused or diverged; plain words. */
  readonly reason?: string;
  readonly model: string;
  readonly parameters: number;
  readonly dataset: {
    readonly name: string;
    readonly classes: readonly string[];
    readonly train: number;
    readonly validation: number;
  };
  /** Steps committed, of how many. */
  readonly step: number;
  readonly totalSteps: number;
  readonly epoch: number;
  readonly epochs: number;
  readonly startedAt: number;
  readonly etaSeconds?: number;
  readonly loss?: number;
  readonly lr?: number;
  readonly imagesPerSecond: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Of the open step (or evaluation): units planned, leased and done. */
  readonly open?: {
    readonly step: number;
    readonly kind: "gradient" | "evaluation";
    readonly units: number;
    readonly leased: number;
    readonly done: number;
  };
  readonly evaluation?: EvalRecord;
  readonly best?: { readonly step: number; readonly top1: number };
  readonly volunteers: readonly VolunteerRow[];
  /** Contributions refused so far, by code. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly checkpoints: readonly {
    readonly file: string;
    readonly step: number;
    readonly bytes: number;
  }[];
  /** The effective configuration, flag name → value. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Link to join (with the token in its fragment), only for the host's own machine. */
  readonly joinUrl?: string;
}

/** A committed step. `time` is Unix milliseconds. */
export interface StepRecord {
  readonly kind: "step";
  readonly step: number;
  readonly epoch: number;
  readonly time: number;
  /** Mean smoothed cross-entropy over the step's samples. */
  readonly loss: number;
  readonly top1: number;
  readonly lr: number;
  /** L2 norm of the averaged gradient before clipping, accumulated in float64. */
  readonly grad_norm: number;
  readonly samples: number;
  readonly images_per_second: number;
  readonly seconds: number;
  readonly workers: number;
  /** "HxW" → units of the step at that size. */
  readonly resolutions: Readonly<Record<string, number>>;
  readonly bytes_in: number;
  readonly bytes_out: number;
  /** SHA-256 of the weights p_t that the step's gradients were taken at. */
  readonly weights: string;
}

/** An evaluation over the validation split: EMA weights, and raw for comparison. Fractions in [0, 1]. */
export interface EvalRecord {
  readonly kind: "eval";
  readonly step: number;
  readonly time: number;
  readonly top1: number;
  readonly top5: number;
  readonly loss: number;
  readonly top1_raw: number;
  readonly samples: number;
}

/** A volunteer came, went or was refused. */
export interface WorkerRecord {
  readonly kind: "worker";
  readonly time: number;
  readonly step: number;
  readonly volunteer: string;
  readonly name: string;
  readonly what: "joined" | "returned" | "left" | "refused" | "expired" | "abandoned";
  readonly code?: string;
  readonly detail?: string;
}

/** Anything else worth keeping: phases, checkpoints, struck samples, alerts. */
export interface EventRecord {
  readonly kind: "event";
  readonly time: number;
  readonly step: number;
  readonly what: string;
  readonly detail?: string;
}

export type MetricRecord = StepRecord | EvalRecord | WorkerRecord | EventRecord;

/** `/api/history?since=`: records after a cursor; `cursor` is what to ask with next time. */
export interface HistoryPage {
  readonly cursor: number;
  readonly records: readonly MetricRecord[];
}
