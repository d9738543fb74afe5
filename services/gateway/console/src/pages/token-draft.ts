import type { NewScript, NewToken } from "../api/client";
import type { Violation } from "../api/problem";

// A token as a form holds it: texts, which may be wrong.

export interface LineDraft {
  id: number; // tells lines apart while they come and go
  start: string;
  end: string;
  script: string;
  translation: string;
}

export interface Draft {
  name: string;
  actor: string;
  category: string;
  start: string;
  end: string;
  pitch: string;
  textgrid: string;
  lines: LineDraft[];
}

export const emptyDraft: Draft = { name: "", actor: "", category: "", start: "0", end: "10", pitch: "", textgrid: "", lines: [] };

export type Fault = "needName" | "needActor" | "needScript" | "badTimes" | "badReference" | "tooLong" | "badCharacters" | "refused";

// The server's bounds of text, in characters, and what it does not store.
const maxName = 255;
const maxReference = 2048;
const maxText = 10_000;
const control = /\p{Cc}/u;
const controlInText = /[^\P{Cc}\n\r\t]/u;

/** What is wrong with a draft, by field: name, end, line-3-end. */
export function faults(draft: Draft): Record<string, Fault> {
  const found: Record<string, Fault> = {};
  const text = (field: string, value: string, most: number, forbidden: RegExp) => {
    if ([...value].length > most) {
      found[field] = "tooLong";
    } else if (forbidden.test(value)) {
      found[field] = "badCharacters";
    }
  };
  for (const field of ["name", "actor", "category"] as const) {
    text(field, draft[field].trim(), maxName, control);
  }
  for (const field of ["pitch", "textgrid"] as const) {
    if (!isReference(draft[field].trim())) {
      found[field] = "badReference";
    }
    text(field, draft[field].trim(), maxReference, control);
  }
  for (const line of draft.lines) {
    text(`line-${line.id}-script`, line.script, maxText, controlInText);
    text(`line-${line.id}-translation`, line.translation, maxText, controlInText);
  }
  if (draft.name.trim() === "") {
    found["name"] = "needName";
  }
  if (draft.actor.trim() === "") {
    found["actor"] = "needActor";
  }
  if (!ordered(draft.start, draft.end)) {
    found["end"] = "badTimes";
  }
  for (const line of draft.lines) {
    if (line.script.trim() === "") {
      found[`line-${line.id}-script`] = "needScript";
    }
    if (!ordered(line.start, line.end)) {
      found[`line-${line.id}-end`] = "badTimes";
    }
  }
  return found;
}

/** Whether a text names an object: s3://bucket/key, a URL, or a bare key; or nothing at all. */
function isReference(text: string): boolean {
  const [scheme, rest] = text.split("://", 2);
  if (rest === undefined) {
    return text === "" || /[^/]/.test(text);
  }
  return scheme === "s3" ? /^[^/]+\/./.test(rest) : (scheme === "http" || scheme === "https") && isURL(text);
}

function isURL(text: string): boolean {
  try {
    return new URL(text).host !== "";
  } catch {
    return false;
  }
}

/** Whether two texts are times with 0 <= start < end. */
function ordered(start: string, end: string): boolean {
  const [from, to] = [seconds(start), seconds(end)];
  return from >= 0 && from < to && Number.isFinite(to);
}

function seconds(text: string): number {
  return text.trim() === "" ? NaN : Number(text);
}

export function tokenOf(draft: Draft): NewToken {
  return {
    token_name: draft.name.trim(),
    actor_name: draft.actor.trim(),
    category: orNull(draft.category),
    start_time: seconds(draft.start),
    end_time: seconds(draft.end),
    s3_pitch_url: orNull(draft.pitch),
    s3_textgrid_url: orNull(draft.textgrid),
  };
}

export function scriptsOf(draft: Draft, token: number): NewScript[] {
  return draft.lines.map((line) => ({
    token_id: token,
    start_time: seconds(line.start),
    end_time: seconds(line.end),
    script: line.script.trim(),
    translation: orNull(line.translation),
  }));
}

function orNull(text: string): string | null {
  return text.trim() === "" ? null : text.trim();
}

const fields: Record<string, string> = {
  "/token_name": "name", "/actor_name": "actor", "/category": "category", "/start_time": "start", "/end_time": "end",
  "/s3_pitch_url": "pitch", "/s3_textgrid_url": "textgrid",
};

/** The fields of the form in which the server found what the form itself does not know to be wrong. */
export function refused(violations: Violation[]): Record<string, Fault> {
  return Object.fromEntries(violations.flatMap(({ pointer }) => (fields[pointer] ? [[fields[pointer], "refused" as const]] : [])));
}
