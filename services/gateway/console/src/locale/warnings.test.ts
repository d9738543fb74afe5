import { describe, expect, it } from "vitest";
import { codeOf, warningFor, warnings } from "./warnings";

const quoted = (code: string) => `«${code}»`;

describe("a warning", () => {
  it("is a sentence in both languages", () => {
    for (const [code, { ko, en }] of Object.entries(warnings)) {
      expect(ko, code).toMatch(/[가-힣].*[.]$/);
      expect(en, code).toMatch(/^[A-Z][^가-힣]*[.]$/);
    }
    expect(warningFor("truncated", "ko", quoted)).toBe(warnings["truncated"]?.ko);
  });

  it("is known by its code, or by the sentence of an older server", () => {
    expect(codeOf("clipped-samples")).toBe("clipped-samples");
    expect(codeOf("pitch reference not used: no points")).toBe("reference-unusable");
    expect(codeOf("too few voiced frames to compare the pitch")).toBe("too-few-voiced-frames");
    expect(codeOf("It was noisy.")).toBe("");
  });

  it("is quoted where it is not known in the language", () => {
    expect(warningFor("It was noisy.", "en", quoted)).toBe("It was noisy.");
    expect(warningFor("It was noisy.", "ko", quoted)).toBe("«It was noisy.»");
    expect(warningFor("new-code", "en", quoted)).toBe("«new-code»");
  });
});
