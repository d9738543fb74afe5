import { describe, expect, it } from "vitest";
import { decibels, lengthOf, levelOf, median, outlineOf, pitchOf, quiet, referenceOf, semitones, stretched, valueAt } from "./curves";

describe("a reference", () => {
  const points = [{ time: 0.1, hz: 200 }, { time: 0, hz: null }];

  it("is read in every form that the analysis server reads", () => {
    expect(referenceOf(points)).toEqual({ time: [0, 0.1], value: [null, 200] });
    for (const name of ["frequency", "pitch", "f0"]) {
      expect(referenceOf([{ time: 0, [name]: 110 }])).toEqual({ time: [0], value: [110] });
    }
    expect(referenceOf({ hop_seconds: 0.5, hz: [100, null, 0] })).toEqual({ time: [0, 0.5, 1], value: [100, null, null] });
  });

  it("is nothing where there is nothing to draw", () => {
    for (const none of [null, undefined, 7, "x", [], {}, { hz: "x" }, [{ hz: 1 }], [null], [{ time: 0, hz: null }], { hz: [0, -1, null] }]) {
      expect(referenceOf(none)).toBeNull();
    }
  });
});

describe("curves", () => {
  it("are compared from their own median", () => {
    expect(median([null, 4, 1, 3, 2])).toBe(2.5);
    expect([median([null, 5]), median([])]).toEqual([5, 0]);
    expect(semitones({ time: [0, 1, 2, 3], value: [100, null, 200, 400] }).value).toEqual([-12, null, 0, 12]);
  });

  it("are stretched to where the other voice is", () => {
    const own = { time: [0, 1, 2, 3, 4], value: [null, 1, null, 1, null] };
    expect(stretched({ time: [10, 20, 30], value: [1, 1, 1] }, own).time).toEqual([1, 2, 3]);
    expect(stretched({ time: [5], value: [1] }, own).time).toEqual([1]);
  });

  it("tell the value at a time, and none in a gap or beyond", () => {
    const curve = { time: [0, 0.1, 0.2, 0.3], value: [1, null, 3, 4] };
    expect([-1, 0, 0.04, 0.1, 0.19, 0.3, 0.9].map((t) => valueAt(curve, t))).toEqual([null, 1, 1, null, 3, 4, null]);
    expect(valueAt({ time: [], value: [] }, 0)).toBeNull();
  });
});

describe("a result", () => {
  it("without figures has no pictures", () => {
    expect([outlineOf({}), levelOf({}), pitchOf({}), outlineOf({ instant: true } as object), pitchOf({ pitch: { hop_seconds: 0.01, hz: [null] } })]).toEqual([null, null, null, null, null]);
    expect(outlineOf({ duration: 1, waveform: { min: [], max: [] } })).toBeNull();
  });

  it("is as long as its duration, else as what it has", () => {
    const pitch = { hop_seconds: 0.5, hz: [null, 100, null, 100] };
    const segments = [{ start: 0, end: 7, kind: "speech" }];
    expect([{ duration: 3, pitch }, { pitch, segments }, { segments }, { segments: [] }, {}].map(lengthOf)).toEqual([3, 2, 7, 1, 1]);
  });

  it("has the level of its waveform's stretches", () => {
    const result = { duration: 2, waveform: { min: [-1, 0], max: [0.5, 0] } };
    expect(levelOf(result)).toEqual({ time: [0.5, 1.5], value: [0, quiet] });
    expect(outlineOf(result)?.reach).toBeCloseTo(1.06);
    expect([decibels(0.1), decibels(0)]).toEqual([-20, quiet]);
  });
});
