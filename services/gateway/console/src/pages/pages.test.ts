import { describe, expect, it } from "vitest";
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

  it("names no object where its reference is none, and holds nothing that cannot be stored", () => {
    const references = ["s3://b", "s3:///k", "ftp://a/b", "http://", "///"].map((pitch) => faults({ ...good, pitch }).pitch);
    expect(references).toEqual(Array(5).fill("badReference"));
    for (const textgrid of ["s3://b/k", "https://a.example/k", "refs/한국어 1.json", " "]) {
      expect(faults({ ...good, textgrid })).toEqual({});
    }
    expect(faults({ ...good, name: "a".repeat(256), actor: "a\u0000" })).toEqual({ name: "tooLong", actor: "badCharacters" });
    expect(faults({ ...good, lines: [{ ...line, script: "a\n\tb", translation: "a\u0001" }] })).toEqual({ "line-1-translation": "badCharacters" });
  });

  it("becomes what the server takes", () => {
    expect(tokenOf(good)).toEqual({ token_name: "a", actor_name: "b", category: null, start_time: 0, end_time: 10, s3_pitch_url: null, s3_textgrid_url: null });
    expect(scriptsOf(good, 7)).toEqual([{ token_id: 7, start_time: 0, end_time: 1, script: "안녕", translation: null }]);
  });

  it("shows what the server refused beside its field", () => {
    expect(refused([{ pointer: "/token_name", detail: "is required" }, { pointer: "/else", detail: "x" }])).toEqual({ name: "refused" });
  });
});
