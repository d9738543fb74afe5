import { describe, expect, it } from "vitest";
import { outlineOf, pitchOf, range } from "./curves";
import { notCompared } from "./comparison";
import { analysisOf } from "./read";

describe("a result", () => {
  it("is read as it is, if it is the reference server's", () => {
    const result = {
      duration: 2.5, sample_rate: 48_000, channels: 1, format: "wav", codec: "pcm_s16le", loudness_lufs: -23.4, voiced_segments: 4,
      segments: [{ start: 0, end: 1, kind: "speech" }], pitch: { hop_seconds: 0.01, hz: [null, 110] }, waveform: { min: [-1], max: [1] }, warnings: ["truncated"],
    };
    expect(analysisOf(result)).toEqual(result);
  });

  it("of another form has no fields", () => {
    for (const odd of [null, undefined, 0, false, "", "done", [], [1], {}, { duration: null, pitch: null, waveform: null, segments: null, warnings: null }]) {
      expect(analysisOf(odd)).toEqual({});
    }
  });

  it("loses the fields that are not of their form, and no others", () => {
    const odd = {
      duration: "2.5", sample_rate: {}, loudness_lufs: 1e999, format: 7, speech_rate: 3, codec: "opus",
      segments: [null, 1, { start: 0 }, { start: 0, end: 1 }, { start: 1, end: 2, kind: 5 }],
      pitch: { hop_seconds: 0.01, hz: [0, -1, "x", null, {}, 200] }, waveform: { max: [1, 0.5] }, warnings: ["truncated", 1, null, "truncated"],
    };
    expect(analysisOf(odd)).toEqual({
      speech_rate: 3, codec: "opus", segments: [{ start: 0, end: 1, kind: "" }, { start: 1, end: 2, kind: "" }],
      pitch: { hop_seconds: 0.01, hz: [null, null, null, null, null, 200] }, warnings: ["truncated"],
    });
    for (const pitch of [{}, { hz: [1] }, { hop_seconds: 0, hz: [1] }, { hop_seconds: 1, hz: "x" }, [], "x"]) {
      expect(notCompared(analysisOf({ pitch }), undefined)).toBe("notCompared");
    }
    for (const waveform of [{ min: [], max: [1] }, { min: [0, null], max: [1, 1] }, { max: "x", min: "x" }]) {
      expect(outlineOf(analysisOf({ duration: 1, waveform }))).toBeNull();
    }
    expect(analysisOf({ warnings: "a sentence" }).warnings).toEqual(["a sentence"]);
  });

  it("has what was corrected in it among its warnings", () => {
    expect(analysisOf({}, ["no-results"])).toEqual({ warnings: ["no-results"] });
    expect(analysisOf({ warnings: ["truncated", "no-results"] }, ["no-results"]).warnings).toEqual(["no-results", "truncated"]);
  });

  it("may have curves of more values than a call takes arguments", () => {
    const hz = Array.from({ length: 2e5 }, (_, i) => (i % 7 === 0 ? 0 : 100 + (i % 50)));
    const result = analysisOf({ duration: 1e4, pitch: { hop_seconds: 0.01, hz }, waveform: { min: hz.map((v) => -v / 200), max: hz.map((v) => v / 200) } });
    expect(range([pitchOf(result) as NonNullable<ReturnType<typeof pitchOf>>], 0)).toEqual([100, 149]);
    expect(outlineOf(result)?.reach).toBeCloseTo((149 / 200) * 1.06);
  }, 60_000);
});
