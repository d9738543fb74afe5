import { describe, expect, it } from "vitest";
import { offline, Problem } from "../api/problem";
import { type StreamEvent, type Live, next, patience, pauseAfter, resendPatience, resendPause, unseen } from "./state";

const frame = (id: string, status: string, progress: number): StreamEvent => ({ kind: "frame", id, data: JSON.stringify({ status, progress }) });
const play = (...events: StreamEvent[]): Live => events.reduce(next, unseen);

describe("a view of a job", () => {
  it("opens, breaks, comes back and ends", () => {
    const events: StreamEvent[] = [
      { kind: "open" }, frame("1", "processing", 10), { kind: "error", closed: false }, { kind: "open" }, frame("4", "completed", 100), { kind: "error", closed: true },
    ];
    expect(events.map((_, i) => play(...events.slice(0, i + 1)).link)).toEqual(["open", "open", "broken", "open", "ended", "ended"]);
  });

  it("shows no frame that is not newer than the one before", () => {
    const live = play(frame("7", "processing", 70), frame("7", "processing", 99), frame("3", "completed", 100), frame("", "completed", 100), frame("x", "failed", 1));
    expect([live.version, live.frame?.progress, live.link]).toEqual([7, 70, "open"]);
  });

  it("may see progress go back with a newer attempt", () => {
    expect(play(frame("7", "processing", 95), frame("8", "processing", 90)).frame?.progress).toBe(90);
  });

  it("passes over a frame that cannot be read", () => {
    expect(play(frame("1", "processing", 10), { kind: "frame", id: "2", data: "{" }).version).toBe(1);
  });

  it("takes version 0, of a job that is not recorded yet", () => {
    expect(play(frame("0", "processing", 10)).version).toBe(0);
  });

  it("keeps what it knows when the browser gives up", () => {
    const live = play(frame("2", "processing", 40), { kind: "error", closed: true });
    expect([live.link, live.frame?.progress]).toEqual(["lost", 40]);
  });

  it("looks again after growing pauses", () => {
    expect([0, 1, 2, 3, 4, 40].map(patience)).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });
});

describe("an upload that breaks", () => {
  /** The pauses until it gives up. */
  function pauses(retryAfter: number): number[] {
    const all: number[] = [];
    for (let n = 0, waited = 0; ; n++) {
      const ms = resendPause(n, waited, retryAfter);
      if (ms === undefined) {
        return all;
      }
      all.push(ms);
      waited += ms;
    }
  }

  it("is sent again for a minute and a half", () => {
    expect(pauses(0).slice(0, 6)).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    expect(pauses(0).reduce((a, b) => a + b)).toBe(resendPatience);
    expect(resendPatience).toBe(90_000);
  });

  it("waits as long as the server asks, and not for ever", () => {
    expect(pauses(20)).toEqual([20_000, 20_000, 20_000, 20_000]);
    expect(pauses(3600)).toEqual([]);
  });
});

describe("an upload in parts that breaks", () => {
  const pause = (problem: Problem, n = 0, waited = 0) => pauseAfter(problem, true, n, waited);

  it("goes on whenever the server can be reached again, after pauses of at most 15 s", () => {
    expect([0, 1, 2, 3, 4, 5000].map((n) => pause(offline(), n, n * 15_000))).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    expect(pauseAfter(offline(), false, 10, 90_000)).toBeUndefined(); // a form, which loses everything
  });

  it("waits as long as the server asks", () => {
    expect(pause(new Problem(503, "busy", "", [], "", 40), 3, 1e9)).toBe(40_000);
    expect(pause(new Problem(429, "rate-limited", "", [], "", 7))).toBe(7_000);
  });

  it("asks again where to go on if it was out of step, or the server failed, for a minute and a half", () => {
    const passing = [new Problem(409, "offset-mismatch"), new Problem(409, "upload-superseded"), new Problem(460, "checksum-mismatch"), new Problem(408, "request-timeout"), new Problem(500, "internal")];
    expect(passing.map((problem) => pause(problem))).toEqual(Array(5).fill(1_000));
    expect(passing.map((problem) => pause(problem, 9, 80_000))).toEqual(Array(5).fill(undefined));
    expect(passing.map((problem) => problem.refusal)).toEqual(Array(5).fill(false)); // the recording is not forgotten
    expect(pauseAfter(new Problem(500, "internal"), false, 0, 0)).toBeUndefined();
  });

  it("waits for a server behind a proxy that cannot reach it, as for one that cannot be reached", () => {
    for (const away of [new Problem(502, "http-502"), new Problem(504, "http-504")]) {
      expect([pause(away, 9, 1e9), pauseAfter(away, false, 0, 0), pauseAfter(away, false, 9, 90_000)]).toEqual([15_000, 1_000, undefined]);
    }
  });

  it("shows what the server refuses", () => {
    const refused = [new Problem(415, "unsupported-audio"), new Problem(413, "too-large"), new Problem(422, "digest-mismatch"), new Problem(404, "token-not-found"), new Problem(403, "insufficient-scope")];
    expect(refused.map((problem) => [pause(problem), problem.refusal])).toEqual(Array(5).fill([undefined, true]));
  });
});
