import { describe, expect, it } from "vitest";
import type { Job } from "../api/types";
import { merge } from "./job-pages";
import { emptyDraft, faults, refused, scriptsOf, tokenOf } from "./token-draft";

const line = { id: 1, start: "0", end: "1", script: "안녕", translation: " " };
const good = { ...emptyDraft, name: " a ", actor: "b", lines: [line] };

describe("a draft of a token", () => {
  it("tells all that is wrong with it", () => {
    expect(faults(good)).toEqual({});
    expect(faults({ ...emptyDraft, start: "3", end: "2", lines: [{ ...line, script: "", end: "x" }] })).toEqual({
      name: "needName", actor: "needActor", end: "badTimes", "line-1-script": "needScript", "line-1-end": "badTimes",
    });
    for (const times of [{ start: "-1" }, { start: "10" }, { end: "" }, { start: "" }, { end: "Infinity" }]) {
      expect(faults({ ...good, ...times })).toEqual({ end: "badTimes" });
    }
  });

  it("becomes what the server takes", () => {
    expect(tokenOf(good)).toEqual({ token_name: "a", actor_name: "b", category: null, start_time: 0, end_time: 10, s3_pitch_url: null, s3_textgrid_url: null });
    expect(scriptsOf(good, 7)).toEqual([{ token_id: 7, start_time: 0, end_time: 1, script: "안녕", translation: null }]);
  });

  it("shows what the server refused beside its field", () => {
    expect(refused([{ pointer: "/token_name", detail: "is required" }, { pointer: "/else", detail: "x" }])).toEqual({ name: "is required" });
  });
});

describe("pages of jobs", () => {
  const job = (id: string, minute: number) => ({ job_id: id, created_at: `2026-01-31T09:0${minute}:00Z`, status: "processing" }) as Job;
  const ids = (jobs: Job[]) => jobs.map((j) => j.job_id).join("");

  it("keep older jobs below the newest page, each once", () => {
    const shown = [job("c", 3), job("b", 2), job("a", 1)];
    expect(ids(merge({ jobs: [job("d", 4), job("c", 3)], next_cursor: "x" }, shown))).toBe("dcba");
  });

  it("drop what the newest page no longer names", () => {
    expect(ids(merge({ jobs: [job("d", 4), job("b", 2)], next_cursor: "x" }, [job("c", 3), job("b", 2), job("a", 1)]))).toBe("dba");
    expect(ids(merge({ jobs: [job("d", 4)], next_cursor: null }, [job("c", 3)]))).toBe("d");
    expect(ids(merge({ jobs: [], next_cursor: null }, [job("c", 3)]))).toBe("");
  });
});
