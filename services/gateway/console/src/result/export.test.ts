import { describe, expect, it } from "vitest";
import { csvOf, hasCurves, readable, stem } from "./export";

describe("a result as CSV", () => {
  it("has a row for every moment of the pitch", () => {
    const csv = csvOf({
      duration: 0.03, pitch: { hop_seconds: 0.01, hz: [null, 220.12345, 221] }, waveform: { min: [-1, -0.5, 0], max: [1, 0.5, 0] },
      segments: [{ start: 0, end: 0.02, kind: "speech" }, { start: 0.02, end: 0.03, kind: '=1+"1"' }],
    });
    expect(csv.split("\r\n")).toEqual(["\ufefftime_seconds,pitch_hz,peak_dbfs,segment", "0,,0,speech", "0.01,220.123,-6.02,speech", `0.02,221,-60,"'=1+""1"""`, ""]);
  });

  it("has the waveform's moments where there is no pitch, and is none where there is neither", () => {
    expect(csvOf({ duration: 1, waveform: { min: [0, -0.1], max: [0.1, 0] } }).split("\r\n")[1]).toBe("0.25,,-20,");
    expect([hasCurves({}), hasCurves({ duration: 1, waveform: { min: [0], max: [0] } })]).toEqual([false, true]);
  });

  it("looks at every segment once, if they are in order, and finds them if they are not", () => {
    let looks = 0;
    const segments = Array.from({ length: 100 }, (_, i) => ({ start: i, kind: `k${i}`, get end() { return looks++, i + 0.45; } }));
    const pitch = { hop_seconds: 0.1, hz: Array<number>(1000).fill(100) };
    const kinds = (of: typeof segments) => csvOf({ pitch, segments: of }).split("\r\n").slice(1, -1).map((row) => row.split(",")[3]);
    const found = kinds(segments);
    expect([found[0], found[4], found[5], found[9], found[10], found[991], found[999]]).toEqual(["k0", "k0", "", "", "k1", "k99", ""]);
    expect(looks).toBeLessThan(2_000);
    expect(kinds([...segments].reverse())).toEqual(found);
  });

  it("is called like its recording", () => {
    expect([stem("노래.wav"), stem("a.b.flac"), stem("x"), stem(".wav")]).toEqual(["노래", "a.b", "x", "sori"]);
  });
});

describe("a result as JSON", () => {
  it("is indented, with every list of numbers on one line", () => {
    const result = { duration: 1.5, pitch: { hz: [null, 220.1, -1e-7] }, segments: [{ kind: "speech" }], none: [], nothing: {} };
    expect(readable(result)).toBe(
      '{\n  "duration": 1.5,\n  "pitch": {\n    "hz": [null, 220.1, -1e-7]\n  },\n  "segments": [\n    {\n      "kind": "speech"\n    }\n  ],\n  "none": [],\n  "nothing": {}\n}',
    );
    expect([0, "", null, true, [], {}].map((value) => readable(value))).toEqual(["0", '""', "null", "true", "[]", "{}"]);
  });

  it("says what the server has sent, also where a text looks like a list", () => {
    const result = { text: "see [1,2,   3]", list: ["a", [1, [2, "[3,4]"]]], "[1,2]": { deep: [[-1], [-2, "x"]] } };
    expect(JSON.parse(readable(result))).toEqual(result);
  });

  it("is made at once, whatever a list of numbers ends with", () => {
    const levels = [...Array<number>(24).fill(-20.5), "-inf"];
    const began = performance.now();
    expect(JSON.parse(readable({ levels }))).toEqual({ levels });
    expect(performance.now() - began).toBeLessThan(1000);
  });
});
