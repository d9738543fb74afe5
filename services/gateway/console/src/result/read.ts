import type { Analysis, Segment } from "../api/types";

/**
 * Reads a result, which is whatever JSON the analysis server has sent. A field that is not of the
 * form that the pages know is left out, so that it is shown nowhere but in the raw JSON. What Sori
 * has corrected in it is told among its warnings.
 */
export function analysisOf(result: unknown, corrections: string[] = []): Analysis {
  const from = fieldsOf(result);
  const read = {
    ...numbersOf(from),
    format: text(from["format"]),
    codec: text(from["codec"]),
    segments: list(from["segments"])?.flatMap(segmentOf),
    pitch: pitchOf(fieldsOf(from["pitch"])),
    waveform: waveformOf(fieldsOf(from["waveform"])),
    warnings: warningsOf(corrections, from["warnings"]),
  };
  return Object.fromEntries(Object.entries(read).filter(([, value]) => value !== undefined));
}

const figures = [
  "duration", "sample_rate", "channels", "loudness_lufs", "peak_dbfs", "true_peak_dbtp", "speech_seconds", "pitch_median_hz",
  "voiced_segments", "speech_rate", "articulation_rate", "pitch_similarity", "analysis_seconds",
] as const;

function numbersOf(from: Record<string, unknown>): Record<string, number> {
  return Object.fromEntries(figures.flatMap((name) => (isNumber(from[name]) ? [[name, from[name]]] : [])));
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value); // JSON.parse makes Infinity of 1e999
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function list(value: unknown): unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

function segmentOf(value: unknown): Segment[] {
  const { start, end, kind } = fieldsOf(value);
  return isNumber(start) && isNumber(end) ? [{ start, end, kind: text(kind) ?? "" }] : [];
}

/** A pitch, of which only a frequency above 0 is one: other servers write 0 where nothing is voiced. */
function pitchOf({ hop_seconds, hz }: Record<string, unknown>): Analysis["pitch"] {
  if (!Array.isArray(hz) || !isNumber(hop_seconds) || hop_seconds <= 0) {
    return undefined;
  }
  return { hop_seconds, hz: hz.map((value) => (isNumber(value) && value > 0 ? value : null)) };
}

function waveformOf({ min, max }: Record<string, unknown>): Analysis["waveform"] {
  const whole = Array.isArray(min) && Array.isArray(max) && min.length === max.length && min.every(isNumber) && max.every(isNumber);
  return whole ? { min: min as number[], max: max as number[] } : undefined;
}

function warningsOf(corrections: string[], value: unknown): string[] | undefined {
  const all = [...corrections, ...(typeof value === "string" ? [value] : (list(value) ?? []).filter((warning) => typeof warning === "string"))];
  return all.length > 0 ? [...new Set(all)] : undefined; // each has its sentence once
}
