import { describe, expect, it, vi } from "vitest";
import { en } from "./en";
import { ko } from "./ko";

vi.stubGlobal("navigator", { languages: ["fr-FR", "ko-KR", "en"] });
const { choose, language } = await import(".");

/** Every sentence of a dictionary by its path; functions say something with an argument. */
function sentences(of: object, path = ""): [string, string][] {
  return Object.entries(of).flatMap(([name, value]): [string, string][] => {
    const at = `${path}.${name}`;
    if (typeof value === "object") {
      return sentences(value as object, at);
    }
    return [[at, typeof value === "function" ? (value as (...args: string[]) => string)("1", "2", "3") : (value as string)]];
  });
}

describe("the dictionaries", () => {
  it("say the same things", () => {
    expect(sentences(en).map(([path]) => path)).toEqual(sentences(ko).map(([path]) => path));
  });

  it("leave nothing unsaid, and nothing untranslated", () => {
    for (const [path, text] of [...sentences(ko), ...sentences(en)]) {
      expect(text.trim(), path).not.toBe("");
    }
    const korean = sentences(en).filter(([path, text]) => /[가-힣]/.test(text) && !path.startsWith(".settings."));
    expect(korean).toEqual([]);
  });
});

describe("the language", () => {
  it("is the first of the browser's that the console speaks", () => {
    expect([choose(["fr", "en-GB", "ko"]), choose(["KO"]), choose(["fr"]), choose([])]).toEqual(["en", "ko", undefined, undefined]);
    expect(language.value).toBe("ko");
  });
});
