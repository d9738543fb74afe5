import { describe, expect, it } from "vitest";
import type { Analysis, Token } from "../api/types";
import { notCompared } from "./comparison";

const token = (reference: string | null) => ({ s3_pitch_url: reference }) as Token;
const voiced: Analysis = { pitch: { hop_seconds: 0.01, hz: [null, 200] } };
const silent: Analysis = { pitch: { hop_seconds: 0.01, hz: [null, null] } };

describe("a result that is not compared", () => {
  it("has no reference only where the token has none", () => {
    expect([notCompared(voiced, token(null)), notCompared(silent, token(null))]).toEqual(["noReference", "noReference"]);
    expect([notCompared(voiced, token("a.json")), notCompared(voiced, undefined)]).toEqual(["notCompared", "notCompared"]);
  });

  it("tells of a reference that is broken", () => {
    const warned = { ...silent, warnings: ["pitch reference not used: it is no JSON"] };
    expect([notCompared(warned, token("a.json")), notCompared({ warnings: ["reference-unusable"] }, undefined)]).toEqual(["referenceUnusable", "referenceUnusable"]);
  });

  it("tells of a recording without a voice, or with too little of one", () => {
    const warnings = ["too few voiced frames to compare the pitch"];
    expect(notCompared({ ...silent, warnings }, token("a.json"))).toBe("noVoice");
    expect(notCompared({ ...voiced, warnings }, token("a.json"))).toBe("tooLittleVoice");
  });
});
