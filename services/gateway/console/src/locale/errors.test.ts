import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Problem, problemOf } from "../api/problem";
import { advice, adviceFor, reasonFor } from "./errors";

/** The codes of the API's document, but for those that only the analysis server meets. */
function documented(): string[] {
  const text = readFileSync(new URL("../../../../../shared/apispec/openapi.yaml", import.meta.url), "utf8");
  const listed = [...text.matchAll(/\bcode:\s*\{?\s*(?:const: ([a-z-]+)|enum:\s*(?:\[([^\]]+)\]|((?:\s*- [a-z-]+\n)+)))/g)];
  const codes = listed.flatMap(([, one, row, column]) => (one ?? row ?? column ?? "").match(/[a-z][a-z-]+/g) ?? []);
  return [...new Set(codes)].filter((code) => code !== "signature-invalid" && code !== "job-id-missing");
}

describe("advice", () => {
  it("is there for every code that the API's document names", () => {
    const codes = documented();
    expect(codes).toEqual(expect.arrayContaining(["busy", "job-erased", "validation-failed", "idempotency-key-reused"]));
    expect(codes.filter((code) => !(code in advice))).toEqual([]);
  });

  it("has both languages for every code", () => {
    for (const [code, { ko, en }] of Object.entries(advice)) {
      expect(ko, code).toMatch(/[가-힣].*[.]$/);
      expect(en, code).toMatch(/^[A-Z][^가-힣]*[.]$/);
    }
  });

  it("falls back on the server's words, and where it said none on its status", () => {
    expect(adviceFor(new Problem(418, "teapot", "Short and stout."), "en")).toBe("Short and stout.");
    expect(adviceFor(new Problem(418, "teapot", "Short and stout."), "ko")).toBe(advice["malformed-request"]?.ko);
    expect(adviceFor(new Problem(500, "http-500"), "en")).toBe(advice["internal"]?.en);
    expect(adviceFor(new Problem(413, "http-413"), "ko")).toBe(advice["too-large"]?.ko);
    expect(adviceFor(new Problem(410, "gone-for-good"), "ko")).toBe(advice["job-erased"]?.ko);
    expect(adviceFor(new Problem(0, "strange"), "ko")).toBe(advice["unexpected"]?.ko);
    expect(adviceFor({ code: "own-code", detail: "Nur ein Piep.", retryable: false }, "ko")).toBe(advice["analysis-failed"]?.ko);
  });
});

describe("what the server says", () => {
  it("stands beside the advice where it tells more", () => {
    const said = (code: string, detail: string) => reasonFor({ code, detail, retryable: false }, "en");
    expect([said("analysis-failed", "The analysis failed."), said("unsupported-codec", "It cannot be decoded."), said("analysis-timeout", "It took too long.")]).toEqual(["", "", ""]);
    expect([said("no-speech", "There is no speech."), said("no-speech", "말소리가 없습니다.")]).toEqual(["", "말소리가 없습니다."]);
    expect(reasonFor(problemOf(415, `{"code":"unsupported-codec","detail":"The codec is wmav2."}`, null), "en")).toBe("The codec is wmav2.");
    expect(reasonFor(problemOf(503, `{"code":"busy","detail":"Too many uploads."}`, null), "en")).toBe("");
  });
});

describe("a problem whose errors have another form", () => {
  it("is told like one without them", () => {
    const p = problemOf(422, `{"code":"validation-failed","errors":[null,1,"x",{},{"pointer":"/audio_url"},{"pointer":null,"detail":"d"},{"pointer":"/token_name","detail":"d"}]}`, null);
    expect(p.errors).toEqual([{ pointer: "/token_name", detail: "d" }]);
    expect([adviceFor(p, "ko"), reasonFor(p, "ko")]).toEqual([advice["validation-failed"]?.ko, ""]);
  });
});

describe("a file that is too large", () => {
  it("is told the limit, where the server tells it", () => {
    const p = problemOf(413, `{"code":"too-large","detail":"d","max_bytes":104857600}`, null);
    expect([adviceFor(p, "ko"), adviceFor(p, "en")]).toEqual([expect.stringContaining("104.8 MB"), expect.stringContaining("104.8 MB")]);
    expect(adviceFor(problemOf(413, `{"code":"too-large"}`, null), "en")).toBe(advice["too-large"]?.en);
  });
});

describe("an upload beyond a budget", () => {
  const beyond = (budget: string) => problemOf(429, `{"code":"quota-exceeded","detail":"d","budget":"${budget}","limit_bytes":1,"used_bytes":1}`, null);

  it("is told what makes room in that budget", () => {
    const told = ["staged_bytes", "stored_bytes", "log_bytes", "of_later"].map((budget) => adviceFor(beyond(budget), "en"));
    expect(new Set(told).size).toBe(4);
    expect(told[1]).toContain("Delete jobs");
    expect(told[3]).toBe(advice["quota-exceeded"]?.en);
    expect(adviceFor(beyond("stored_bytes"), "ko")).toContain("삭제");
  });

  it("is sent again by itself only where the budget becomes free in a moment", () => {
    expect(["staged_bytes", "stored_bytes", "log_bytes"].map((budget) => beyond(budget).passing)).toEqual([true, false, false]);
    expect(beyond("stored_bytes").refusal).toBe(true);
  });
});

describe("a problem", () => {
  it("is a refusal where the same request would be refused again", () => {
    const all = [new Problem(0, "offline"), new Problem(503, "busy"), new Problem(408, "request-timeout"), new Problem(415, "unsupported-audio"), new Problem(409, "idempotency-key-in-use")];
    expect(all.map((p) => p.refusal)).toEqual([false, false, false, true, false]);
  });

  it("is read from a problem document, with what it says beside", () => {
    const p = problemOf(409, `{"code":"job-not-cancelable","detail":"d","request_id":"r","current_status":"completed","allowed":[]}`, "3");
    expect([p.code, p.detail, p.requestId, p.retryAfter, p.extra["current_status"]]).toEqual(["job-not-cancelable", "d", "r", 3, "completed"]);
  });

  it("is made of any other answer", () => {
    for (const body of ["", "<html>", "null", "[]", `{"code":7,"errors":"x"}`]) {
      expect(problemOf(502, body, null).code).toBe("http-502");
    }
  });

  it("passes where the same request may be made again", () => {
    const passing = [new Problem(0, "offline"), new Problem(503, "bus-full"), new Problem(409, "idempotency-key-in-use"), new Problem(422, "empty-file"), new Problem(500, "internal")];
    expect(passing.map((p) => p.passing)).toEqual([true, true, true, false, false]);
  });
});

describe("a link that is refused", () => {
  const refused = problemOf(422, `{"code":"validation-failed","detail":"d","errors":[{"pointer":"/audio_url","detail":"must not name an address of a private network"}]}`, null);

  it("is told in words about the link, with what the server found", () => {
    expect([adviceFor(refused, "en"), adviceFor(refused, "ko")]).toEqual([advice["link-refused"]?.en, advice["link-refused"]?.ko]);
    expect(reasonFor(refused, "en")).toBe("must not name an address of a private network");
    expect(adviceFor(problemOf(422, `{"code":"validation-failed","errors":[{"pointer":"/token_name","detail":"x"}]}`, null), "en")).toBe(advice["validation-failed"]?.en);
  });
});
