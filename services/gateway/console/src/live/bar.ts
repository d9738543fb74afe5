import type { JobStage, State } from "../api/types";

/** The stages of a job, as the bar shows them: fewer than the server has. */
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

/** The bar's stage in each of the server's; a job that failed or was canceled stays where it was. */
const shown: Partial<Record<JobStage, Stage>> = {
  received: "storing",
  fetching: "storing",
  uploading: "storing",
  stored: "requesting",
  waiting: "requesting",
  dispatched: "analysing",
  refused: "analysing",
  completed: "done",
};

// Where the stages begin: in the server's percent, and in the bar's. People wait
// for the sending and for the analysis, so that these own two thirds of the bar.
// The shares are fixed: a reload, another tab and the list show the same percent.
// pages.css puts the stages' names where they begin.
const begins: { stage: Stage; server: number; bar: number }[] = [
  { stage: "sending", server: 0, bar: 0 },
  { stage: "storing", server: 10, bar: 36 },
  { stage: "requesting", server: 70, bar: 52 },
  { stage: "analysing", server: 90, bar: 70 },
  { stage: "done", server: 100, bar: 100 },
];

/** Joins the upload's progress and the job's into one bar. */
export function barOf(sent: Sent | null, job: State | null): Bar {
  if (!job) {
    const server = sent && sent.total > 0 ? Math.min(10, (10 * sent.bytes) / sent.total) : 0;
    return { percent: scaled(server).percent, stage: "sending" };
  }
  const reached = scaled(job.progress);
  const stage = shown[job.stage] ?? (reached.stage === "done" ? "analysing" : reached.stage);
  return { percent: reached.percent, stage };
}

/** The bar at a percent of the server's. */
function scaled(progress: number): Bar {
  const at = Math.max(0, Math.min(100, progress)) || 0;
  const i = begins.findLastIndex(({ server }) => server <= at);
  const { stage, server, bar } = begins[i] as (typeof begins)[number];
  const next = begins[i + 1];
  const percent = next ? bar + ((next.bar - bar) * (at - server)) / (next.server - server) : bar;
  return { percent: Math.floor(percent), stage };
}
