import type { Analysis, Segment } from "../api/types";
import { levelOf, pitchOf, valueAt } from "./curves";

/** Whether a result has a curve, and so a CSV. */
export function hasCurves(result: Analysis): boolean {
  return pitchOf(result) !== null || levelOf(result) !== null;
}

/**
 * The curves of a result as CSV, a moment a row: pitch, peak level and what the
 * segment is. The moments are those of the pitch, else of the waveform.
 */
export function csvOf(result: Analysis): string {
  const pitch = pitchOf(result);
  const level = levelOf(result);
  const time = pitch?.time ?? level?.time ?? [];
  const rows = time.map((at, i) => [
    round(at, 4), round(pitch?.value[i], 3), round(level && valueAt(level, at), 2), cell(kindAt(result.segments ?? [], at)),
  ]);
  const table = [["time_seconds", "pitch_hz", "peak_dbfs", "segment"], ...rows];
  return "\ufeff" + table.map((row) => row.join(",") + "\r\n").join(""); // as spreadsheets read UTF-8
}

function round(value: number | null | undefined, digits: number): string {
  return value == null ? "" : String(Number(value.toFixed(digits)));
}

function kindAt(segments: Segment[], at: number): string {
  return segments.find(({ start, end }) => start <= at && at < end)?.kind ?? "";
}

/** A text of a server's: quoted, and never a formula to a spreadsheet. */
function cell(text: string): string {
  const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replace(/"/g, '""')}"` : plain;
}

/** A file name without its extension, for what is made of it. */
export function stem(name: string): string {
  return name.replace(/\.[^.]{1,5}$/, "") || "sori";
}
