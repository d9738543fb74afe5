import { describe, expect, it } from "vitest";
import { href, parse, type Route } from "./route";

describe("a route", () => {
  it("is what its address says", () => {
    const routes: Route[] = [
      { at: "new", token: "" },
      { at: "new", token: "7" },
      { at: "upload", key: "a/b?c" },
      { at: "job", id: "01890a5d-ac96-774b-bcce-b302099a8057" },
      { at: "jobs", filter: { status: "", token: "", from: "", to: "" } },
      { at: "jobs", filter: { status: "failed", token: "3", from: "2026-01-01", to: "2026-01-31" } },
    ];
    for (const route of routes) {
      expect(parse(href(route))).toEqual(route);
    }
  });

  it("says its filter also in a browser whose URLSearchParams have no size", () => {
    const size = Object.getOwnPropertyDescriptor(URLSearchParams.prototype, "size");
    Reflect.deleteProperty(URLSearchParams.prototype, "size");
    expect(href({ at: "jobs", filter: { status: "failed", token: "", from: "", to: "" } })).toBe("#/jobs?status=failed");
    if (size) {
      Object.defineProperty(URLSearchParams.prototype, "size", size);
    }
  });

  it("leaves out what the filter cannot show", () => {
    const filter = { status: "", token: "x", from: "", to: "2026-01-31" };
    expect(parse("#/jobs?status=bogus&token=x&from=yesterday&to=2026-01-31")).toEqual({ at: "jobs", filter });
    expect(parse("#/jobs?from=2026-13-01")).toEqual({ at: "jobs", filter: { ...filter, token: "", to: "" } });
  });

  it("leads nowhere where there is nothing", () => {
    for (const fragment of ["#/nothing", "#/jobs/1/2", "#/uploads", "#x/y/z/w"]) {
      expect(parse(fragment)).toEqual({ at: "nowhere" });
    }
    expect(parse("")).toEqual({ at: "new", token: "" });
    expect(parse("#/jobs/%E0%A4%A")).toEqual({ at: "job", id: "%E0%A4%A" });
  });
});
