import type { Language } from ".";

// Numbers, sizes and times as people of a language read them.

// Browsers take a third of a millisecond to make a format, which a list of jobs and the values beside a
// recording that plays need a thousand times.
const formats = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function kept<T extends Intl.NumberFormat | Intl.DateTimeFormat>(key: unknown[], make: () => T): T {
  const name = JSON.stringify(key);
  const found = formats.get(name) ?? make();
  formats.set(name, found);
  return found as T;
}

function numbers(language: Language, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  return kept([language, options], () => new Intl.NumberFormat(language, options));
}

/** A time in the viewer's zone, which may change; a dash for what is none. */
function timeText(at: Date, language: Language, options: Intl.DateTimeFormatOptions): string {
  if (Number.isNaN(at.getTime())) {
    return "–";
  }
  return kept([language, options, new Date().getTimezoneOffset()], () => new Intl.DateTimeFormat(language, options)).format(at);
}

/** Whether a sentence of a server's may be in a language; only Korean and the rest are told apart. */
export function isIn(wanted: Language, sentence: string): boolean {
  return /[가-힣]/.test(sentence) === (wanted === "ko");
}

/** A name in a sentence: where it is written from right to left, the rest of the sentence is not. */
export function isolated(name: string): string {
  return `\u2068${name}\u2069`; // FIRST STRONG ISOLATE, POP DIRECTIONAL ISOLATE
}

export function decimal(value: number, digits: number, language: Language): string {
  return numbers(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value).replace("-", "−");
}

export function percent(share: number, language: Language): string {
  return numbers(language, { style: "percent", maximumFractionDigits: 0 }).format(share);
}

/** 12.3 MB; powers of ten, as files are sold. */
export function bytes(n: number, language: Language): string {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  let value = n;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${decimal(value, unit > 0 && value < 99.95 ? 1 : 0, language)} ${units[unit]}`;
}

/** A limit of bytes, rounded down: a file of the size that it names is taken. */
export function atMost(n: number, language: Language): string {
  const [unit, name] = n >= 1e9 ? [1e9, "GB"] : n >= 1e6 ? [1e6, "MB"] : n >= 1e3 ? [1e3, "kB"] : [1, "B"];
  return `${numbers(language, { maximumFractionDigits: 1 }).format(Math.floor((n / unit) * 10) / 10)} ${name}`;
}

/** A position or a length: 0:07.3, 12:04.0, 1:02:33.0. */
export function clock(seconds: number, digits = 1): string {
  const scale = 10 ** digits;
  const ticks = Math.max(0, Math.round(seconds * scale) || 0);
  const rest = ticks % (60 * scale);
  const minutes = Math.floor(ticks / (60 * scale));
  const hours = Math.floor(minutes / 60);
  const low = (rest / scale).toFixed(digits).padStart(digits > 0 ? digits + 3 : 2, "0");
  return hours > 0 ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${low}` : `${minutes}:${low}`;
}

const hour = 3600;

/** How long something takes, in at most two units: 850 ms, 12 s, 3 min 20 s. */
export function span(seconds: number, language: Language): string {
  const unit = (value: number, name: string, digits = 0) =>
    numbers(language, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: digits }).format(value);
  if (seconds < 1) {
    return unit(Math.max(0, Math.round(seconds * 1000)), "millisecond");
  }
  if (seconds < 9.95) {
    return unit(seconds, "second", 1);
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return unit(whole, "second");
  }
  const [large, small, size] = whole < hour ? (["minute", "second", 60] as const) : (["hour", "minute", hour] as const);
  const rest = Math.floor((whole % size) / (size === hour ? 60 : 1));
  const first = unit(Math.floor(whole / size), large);
  return rest > 0 ? `${first} ${unit(rest, small)}` : first;
}

/** The seconds until a moment, whole, never negative: what a countdown shows. */
export function secondsUntil(moment: string, now: number): number {
  return Math.max(0, Math.ceil((Date.parse(moment) - now) / 1000)) || 0;
}

/** A moment of today by its time, another by its date as well. */
export function moment(iso: string, language: Language, now = new Date()): string {
  const at = new Date(iso);
  const today = at.toDateString() === now.toDateString();
  const date: Intl.DateTimeFormatOptions = today ? {} : { month: "short", day: "numeric", ...(at.getFullYear() === now.getFullYear() ? {} : { year: "numeric" }) };
  return timeText(at, language, { ...date, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

/** The time of day to the second, in the viewer's own zone. */
export function timeOfDay(iso: string, language: Language): string {
  return timeText(new Date(iso), language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

/** A name for what was recorded at a moment: 2026-01-31-0905. */
export function stamp(at: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}-${two(at.getHours())}${two(at.getMinutes())}`;
}

/** The first instant of a date of the viewer's (2026-01-31), days later, as RFC 3339, whose years have four digits; "" for none. */
export function dayStart(date: string, daysLater = 0): string {
  const [year, month, day] = date.split("-").map(Number);
  if (!year || !month || !day || year > 9998) {
    return "";
  }
  return new Date(year, month - 1, day + daysLater).toISOString();
}
