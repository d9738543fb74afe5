import type { State } from "../api/types";

/** The stations of a job's way, as the bar shows them. */
export const stages = ["sending", "storing", "requesting", "analysing", "done"] as const;
export type Stage = (typeof stages)[number];

export interface Sent {
  bytes: number;
  total: number;
}

export interface Bar {
  percent: number; // 0..100, whole
  stage: Stage;
}

// Where the stages begin, in the server's percent: what it says, the bar shows.
// The part before its first word, 10, belongs to the bytes on their way to it.
const received = 10;
const stored = 70;
const dispatched = 90;

/** Joins the upload's progress and the job's into one bar that only grows. */
export function barOf(sent: Sent | null, job: State | null): Bar {
  if (job) {
    const percent = whole(job.progress, 100);
    return { percent, stage: job.status === "completed" ? "done" : stageAt(percent) };
  }
  if (sent && sent.total > 0) {
    return { percent: whole((received * sent.bytes) / sent.total, received), stage: "sending" };
  }
  return { percent: 0, stage: "sending" };
}

function whole(value: number, most: number): number {
  return Math.max(0, Math.min(most, Math.floor(value))) || 0;
}

function stageAt(percent: number): Stage {
  if (percent >= dispatched) {
    return "analysing";
  }
  if (percent >= stored) {
    return "requesting";
  }
  return percent >= received ? "storing" : "sending";
}
