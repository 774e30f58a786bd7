/** Numbers as people read them: short, with units, the same width for the same magnitude. */

/** What stands where there is no number yet. */
export const NOTHING = "–";

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 12345 → "12,345". */
export function formatCount(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? NOTHING : GROUPED.format(value);
}

/** A fraction in [0, 1] → "91.3 %". */
export function formatPercent(value: number | null | undefined, digits = 1): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  return `${(100 * value).toFixed(digits)} %`;
}

/** Bytes in decimal units, as networks count: 2_512_000 → "2.51 MB". */
export function formatBytes(bytes: number | undefined): string {
  if (bytes === undefined || !Number.isFinite(bytes)) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : threeDigits(value)} ${units[unit]}`;
}

/** Seconds → "45 s", "12 min 40 s", "2 h 05 min", "3 d 4 h". */
export function formatDuration(seconds: number | undefined): string {
  if (seconds === undefined || !Number.isFinite(seconds)) return NOTHING;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${pad(whole % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${pad(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Seconds on an axis → "0:45", "12:40", "2:05:00". */
export function formatClock(seconds: number): string {
  const whole = Math.round(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = pad(whole % 60);
  return hours > 0 ? `${hours}:${pad(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** Unix milliseconds → local time of day, "14:02:11". */
export function formatTime(time: number): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(pad).join(":");
}

/** A loss or norm: three decimals below 10, fewer above; tiny ones in powers of ten. */
export function formatValue(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) return formatRate(value);
  if (size < 10) return value.toFixed(3);
  if (size < 1000) return value.toFixed(1);
  return GROUPED.format(value);
}

/** A learning rate: "2.00e-3". */
export function formatRate(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  return value === 0 ? "0" : value.toExponential(2);
}

/** Images a second: one decimal below 100. */
export function formatSpeed(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  return value < 99.95 ? value.toFixed(1) : GROUPED.format(value);
}

/** "1 step", "2 steps". */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function threeDigits(value: number): string {
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}
