import { describe, expect, it } from "vitest";
import type { JobStage, State, Status } from "../api/types";
import { barOf } from "./bar";

const job = (progress: number, stage: JobStage, status: Status = "processing"): State => ({ job_id: "1", status, stage, progress, message: "" });

describe("the bar", () => {
  it("grows from the first byte to the result, through all stages", () => {
    const way = [
      barOf(null, null), barOf({ bytes: 0, total: 0 }, null), barOf({ bytes: 50, total: 200 }, null), barOf({ bytes: 200, total: 200 }, null),
      barOf({ bytes: 200, total: 200 }, job(10, "received")), barOf(null, job(20, "fetching")), barOf(null, job(40, "uploading")), barOf(null, job(69, "uploading")), barOf(null, job(70, "stored")), barOf(null, job(90, "dispatched")),
      barOf(null, job(99, "dispatched")), barOf(null, job(100, "completed", "completed")),
    ];
    expect(way.map((bar) => bar.percent)).toEqual([0, 0, 9, 36, 36, 38, 44, 51, 52, 70, 97, 100]);
    expect(way.map((bar) => bar.stage)).toEqual([
      "sending", "sending", "sending", "sending", "storing", "storing", "storing", "storing", "requesting", "analysing", "analysing", "done",
    ]);
  });

  it("gives most of itself to what people wait for: the sending and the analysis", () => {
    const sending = barOf({ bytes: 1, total: 1 }, null).percent;
    const analysis = barOf(null, job(100, "completed", "completed")).percent - barOf(null, job(90, "dispatched")).percent;
    expect(sending).toBeGreaterThanOrEqual(30);
    expect(analysis).toBeGreaterThanOrEqual(30);
  });

  it("stays where a job ended", () => {
    expect(barOf(null, job(70, "failed", "failed"))).toEqual({ percent: 52, stage: "requesting" });
    expect(barOf(null, job(40, "canceled", "canceled"))).toEqual({ percent: 44, stage: "storing" });
    expect(barOf(null, job(100, "failed", "failed"))).toEqual({ percent: 100, stage: "analysing" });
  });

  it("shows the stage that the server names, whatever the percent", () => {
    // A job that waits for its next attempt keeps the percent of the one before.
    expect(barOf(null, job(90, "waiting"))).toEqual({ percent: 70, stage: "requesting" });
    expect(barOf(null, job(70, "refused"))).toEqual({ percent: 52, stage: "analysing" });
    expect(barOf(null, job(69, "stored")).stage).toBe("requesting");
  });

  it("keeps to its bounds, whatever it is told", () => {
    expect([-3, 250, NaN, 12.9].map((progress) => job(progress, "received")).map((j) => barOf(null, j).percent)).toEqual([0, 100, 0, 36]);
    expect(barOf({ bytes: 9, total: 3 }, null).percent).toBe(36);
  });
});
