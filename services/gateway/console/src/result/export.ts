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
  const kinds = kindsAt(result.segments ?? [], time);
  const rows = time.map((at, i) => [
    round(at, 4), round(pitch?.value[i], 3), round(level && valueAt(level, at), 2), cell(kinds[i] ?? ""),
  ]);
  const table = [["time_seconds", "pitch_hz", "peak_dbfs", "segment"], ...rows];
  return "\ufeff" + table.map((row) => row.join(",") + "\r\n").join(""); // as spreadsheets read UTF-8
}

function round(value: number | null | undefined, digits: number): string {
  return value == null ? "" : String(Number(value.toFixed(digits)));
}

/** The kind of the segment at each moment. The moments ascend; if the segments do, too, each is looked at once. */
function kindsAt(segments: Segment[], moments: number[]): string[] {
  const ascend = segments.every(({ start, end }, i) => {
    const before = segments[i - 1];
    return before === undefined || (start >= before.start && end >= before.end);
  });
  let passed = 0;
  return moments.map((at) => {
    while (ascend && at >= (segments[passed]?.end ?? Infinity)) {
      passed++;
    }
    const found = ascend ? segments[passed] : segments.find(({ start, end }) => start <= at && at < end);
    return found && found.start <= at ? found.kind : "";
  });
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

/**
 * A value as indented JSON, with every list of numbers on one line. The text is not made with a regular
 * expression: that would change texts that look like lists, and take for ever for some lists.
 */
export function readable(value: unknown, indent = ""): string {
  if (typeof value !== "object" || value === null) {
    return JSON.stringify(value);
  }
  const inner = `${indent}  `;
  if (!Array.isArray(value)) {
    const fields = Object.entries(value).map(([name, field]) => `${JSON.stringify(name)}: ${readable(field, inner)}`);
    return block("{", fields, "}", indent);
  }
  if (value.every((item) => typeof item === "number" || item === null)) {
    return JSON.stringify(value).replaceAll(",", ", ");
  }
  return block("[", value.map((item) => readable(item, inner)), "]", indent);
}

/** Parts of JSON on lines of their own, between brackets. */
function block(open: string, parts: string[], close: string, indent: string): string {
  return parts.length === 0 ? open + close : `${open}\n${parts.map((part) => `${indent}  ${part}`).join(",\n")}\n${indent}${close}`;
}
