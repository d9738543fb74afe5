import type { Problem } from "../api/problem";
import { ended, type Frame } from "../api/types";

/**
 * How a page sees a job: `opening` until the first word, `open` while frames
 * come, `broken` while the browser reconnects by itself, `lost` where it has
 * given up and the console must look what is the matter, `ended` after the last
 * frame.
 */
export type Link = "opening" | "open" | "broken" | "lost" | "ended";

export interface Live {
  link: Link;
  version: number; // of the newest frame, -1 before the first
  frame: Frame | null;
}

export type StreamEvent = { kind: "open" } | { kind: "frame"; id: string; data: string } | { kind: "error"; closed: boolean };

export const unseen: Live = { link: "opening", version: -1, frame: null };

/** Returns the view of a job after an event of its EventSource. */
export function next(live: Live, event: StreamEvent): Live {
  if (live.link === "ended") {
    return live;
  }
  switch (event.kind) {
    case "open":
      return { ...live, link: "open" };
    case "error":
      return { ...live, link: event.closed ? "lost" : "broken" };
    case "frame":
      return take(live, event.id, event.data);
  }
}

/** Takes a frame that is newer than what was seen; others change nothing. */
function take(live: Live, id: string, data: string): Live {
  const version = Number(id);
  if (!(version > live.version)) {
    return live;
  }
  try {
    const frame = JSON.parse(data) as Frame;
    return { link: ended(frame.status) ? "ended" : "open", version, frame };
  } catch {
    return live;
  }
}

/** How long to wait before looking for the nth time, in ms: 2 s, doubled to 30 s. */
export function patience(n: number): number {
  return Math.min(30_000, 2_000 * 2 ** n);
}

/** How long the pauses of an upload that breaks may be in all, in ms. */
export const resendPatience = 90_000;

/**
 * The pause before an upload is sent again after its nth try broke, in ms: 1 s,
 * doubled to 15 s, or what the server asks for. Undefined where it gives up, since
 * the pauses would add up to more than its patience.
 */
export function resendPause(n: number, waited: number, retryAfter: number): number | undefined {
  const ms = Math.max(retryAfter * 1000, patience(n) / 2);
  return waited + ms <= resendPatience ? ms : undefined;
}

/**
 * The pause before an upload goes on after a problem, likewise; undefined where the problem is to
 * be shown. An upload in parts loses nothing by waiting: it never gives up a server that is away.
 */
export function pauseAfter(problem: Problem, inParts: boolean, n: number, waited: number): number | undefined {
  if (inParts && problem.passing) {
    return Math.max(problem.retryAfter * 1000, patience(n) / 2);
  }
  return problem.passing || (inParts && mayPass(problem)) ? resendPause(n, waited, problem.retryAfter) : undefined;
}

/** Whether the next request of an upload in parts may succeed: it asks where to go on. */
function mayPass({ status, outOfStep }: Problem): boolean {
  return status >= 500 || status === 408 || outOfStep;
}
