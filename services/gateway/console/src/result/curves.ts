// The data of the charts, in the form that uPlot takes: one
// list of x, and lists of y of the same length; null is a gap.

import type { Analysis } from "../api/types";

export type Values = (number | null)[];

/** A curve over time. */
export interface Curve {
  time: number[];
  value: Values;
}

/** The lowest level that is drawn, dBFS. */
export const quiet = -60;

/** The middle of each stretch of a waveform. */
function middles(count: number, duration: number): number[] {
  return Array.from({ length: count }, (_, i) => ((i + 0.5) * duration) / count);
}

export interface Outline {
  time: number[];
  min: number[];
  max: number[];
  /** The largest absolute value that the chart shows. */
  reach: number;
}

/** The waveform's outline; null where the result has none. */
export function outlineOf(result: Analysis): Outline | null {
  const { waveform, duration } = result;
  if (!waveform?.max?.length || !duration) {
    return null;
  }
  const { min, max } = waveform;
  const [low, high] = range([{ time: [], value: min }, { time: [], value: max }], 0);
  const peak = Math.max(Math.abs(low), Math.abs(high));
  return { time: middles(max.length, duration), min, max, reach: Math.max(0.05, peak) * 1.06 };
}

/** The momentary peak level, from the same stretches. */
export function levelOf(result: Analysis): Curve | null {
  const outline = outlineOf(result);
  if (!outline) {
    return null;
  }
  const value = outline.max.map((high, i) => decibels(Math.max(Math.abs(high), Math.abs(outline.min[i] ?? 0))));
  return { time: outline.time, value };
}

/** An amplitude in dBFS, not below what is drawn. */
export function decibels(amplitude: number): number {
  return amplitude > 0 ? Math.max(quiet, 20 * Math.log10(amplitude)) : quiet;
}

/** The pitch that was found, in Hz; null where nothing is voiced. */
export function pitchOf(result: Analysis): Curve | null {
  const { pitch } = result;
  if (!pitch?.hz?.some((hz) => hz !== null)) {
    return null;
  }
  return { time: pitch.hz.map((_, i) => i * pitch.hop_seconds), value: pitch.hz };
}

/** How long the time axis of a result is, in s, also where the server does not tell the duration. */
export function lengthOf({ duration, pitch, segments }: Analysis): number {
  return duration || (pitch && pitch.hz.length * pitch.hop_seconds) || segments?.at(-1)?.end || 1;
}

const hertzNames = ["hz", "frequency", "pitch", "f0"];

/**
 * Reads a token's reference: a list of {time, hz} (or another name for hz), or
 * the pitch object of an earlier result. Null where there is nothing to draw.
 */
export function referenceOf(pitch: unknown): Curve | null {
  const curve = Array.isArray(pitch) ? ofPoints(pitch) : ofTrack(pitch);
  return curve?.value.some((hz) => hz !== null) ? curve : null;
}

function ofTrack(pitch: unknown): Curve | null {
  if (typeof pitch !== "object" || pitch === null || !("hz" in pitch) || !Array.isArray(pitch.hz)) {
    return null;
  }
  const hop = "hop_seconds" in pitch && typeof pitch.hop_seconds === "number" ? pitch.hop_seconds : 0.01;
  return { time: pitch.hz.map((_, i) => i * hop), value: pitch.hz.map(voiced) };
}

function ofPoints(points: unknown[]): Curve | null {
  const read: [number, number | null][] = [];
  for (const point of points as Record<string, unknown>[]) {
    if (typeof point?.["time"] === "number") {
      read.push([point["time"], voiced(hertzNames.map((name) => point[name]).find((value) => value != null))]);
    }
  }
  read.sort((a, b) => a[0] - b[0]);
  return read.length > 0 ? { time: read.map((p) => p[0]), value: read.map((p) => p[1]) } : null;
}

function voiced(value: unknown): number | null {
  return typeof value === "number" && value > 0 && Number.isFinite(value) ? value : null;
}

/** The median of what is there; 0 where nothing is. */
export function median(values: Values): number {
  const sorted = values.filter((v): v is number => v !== null).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) {
    return sorted[middle] as number;
  }
  return sorted.length > 0 ? ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2 : 0;
}

/** A pitch in semitones from the voice's own median, which makes voices comparable. */
export function semitones(curve: Curve): Curve {
  const middle = median(curve.value);
  return { time: curve.time, value: curve.value.map((hz) => (hz === null ? null : 12 * Math.log2(hz / middle))) };
}

/** From the first to the last value that is there. */
function extent(curve: Curve): [number, number] {
  const there = curve.time.filter((_, i) => curve.value[i] !== null);
  return [there[0] ?? 0, there[there.length - 1] ?? 0];
}

/** A curve whose voiced part lies where that of another one does. */
export function stretched(curve: Curve, to: Curve): Curve {
  const [from, until] = extent(curve);
  const [start, end] = extent(to);
  const scale = until > from ? (end - start) / (until - from) : 1;
  return { time: curve.time.map((t) => start + (t - from) * scale), value: curve.value };
}

/** The lowest and the highest value of some curves, with room around them. */
export function range(curves: Curve[], room: number): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const { value } of curves) {
    for (const v of value) { // Math.min(...value) would fail for a long recording: a call takes some 100 000 arguments
      if (v !== null) {
        low = Math.min(low, v);
        high = Math.max(high, v);
      }
    }
  }
  return [low - room, high + room];
}

/** The value at a time: that of the nearest point which is not far away. */
export function valueAt(curve: Curve, time: number): number | null {
  const { time: at, value } = curve;
  let low = 0;
  let high = at.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((at[middle] as number) <= time) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const nearest = Math.abs((at[high] ?? 0) - time) < Math.abs((at[low] ?? 0) - time) ? high : low;
  const step = at.length > 1 ? ((at[at.length - 1] as number) - (at[0] as number)) / (at.length - 1) : 0;
  return Math.abs((at[nearest] ?? Infinity) - time) <= Math.max(step, 0.02) ? (value[nearest] ?? null) : null;
}
