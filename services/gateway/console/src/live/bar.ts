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

// Where the stages begin: in the server's percent, and in the bar's. The server
// counts 10 when a recording has arrived and 90 when its analysis begins. People
// wait for the sending and for the analysis, so that these own two thirds of the
// bar. The shares are fixed: a reload, another tab and the list show the same
// percent. pages.css puts the stages' names where they begin.
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
  const bar = scaled(job.progress);
  return job.status !== "completed" && bar.stage === "done" ? { ...bar, stage: "analysing" } : bar;
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
