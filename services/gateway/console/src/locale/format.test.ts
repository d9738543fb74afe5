import { describe, expect, it, vi } from "vitest";
import { atMost, bytes, clock, dayStart, decimal, isIn, moment, percent, secondsUntil, span, stamp } from "./format";

describe("formats", () => {
  it("tell positions", () => {
    expect([0, 7.34, 59.96, 60, 754, 3753.25].map((s) => clock(s))).toEqual(["0:00.0", "0:07.3", "1:00.0", "1:00.0", "12:34.0", "1:02:33.3"]);
    expect([clock(1.239, 2), clock(61.4, 0), clock(NaN), clock(-2)]).toEqual(["0:01.24", "1:01", "0:00.0", "0:00.0"]);
  });

  it("tell how long something takes, in the language", () => {
    expect([0.0142, 1, 4.25, 9.97, 59.7, 61, 3599, 3600, 9000].map((s) => span(s, "en"))).toEqual([
      "14 ms", "1 sec", "4.3 sec", "10 sec", "1 min", "1 min 1 sec", "59 min 59 sec", "1 hr", "2 hr 30 min",
    ]);
    expect(span(75, "ko")).toBe("1분 15초");
  });

  it("tell limits, never larger than they are", () => {
    expect([104_857_600, 65_536, 700, 2_199_999_999].map((n) => atMost(n, "en"))).toEqual(["104.8 MB", "65.5 kB", "700 B", "2.1 GB"]);
  });

  it("tell sizes", () => {
    expect([0, 999, 1000, 193_646, 5_300_000, 104_857_600, 2.5e9].map((n) => bytes(n, "en"))).toEqual(["0 B", "999 B", "1.0 kB", "194 kB", "5.3 MB", "105 MB", "2.5 GB"]);
  });

  it("tell numbers with a true minus", () => {
    expect([decimal(-20.37, 1, "en"), decimal(1234.5, 0, "ko"), percent(0.963, "en")]).toEqual(["−20.4", "1,235", "96%"]);
  });

  it("count down to zero and no further", () => {
    const now = Date.parse("2026-01-31T09:00:00Z");
    expect(["2026-01-31T09:00:12.4Z", "2026-01-31T09:00:00Z", "2026-01-31T08:00:00Z", "soon"].map((at) => secondsUntil(at, now))).toEqual([13, 0, 0, 0]);
  });

  it("tell a moment by as much as is needed", () => {
    const now = new Date(2026, 0, 31, 18, 0);
    expect(moment(new Date(2026, 0, 31, 9, 5).toISOString(), "en", now)).toBe("09:05");
    expect(moment(new Date(2026, 0, 30, 9, 5).toISOString(), "ko", now)).toBe("1월 30일 09:05");
    expect(moment(new Date(2025, 11, 30, 9, 5).toISOString(), "en", now)).toBe("Dec 30, 2025, 09:05");
  });

  it("are made once, for lists of thousands of jobs", () => {
    const made = vi.spyOn(Intl, "DateTimeFormat");
    const now = new Date(2026, 0, 31, 18, 0);
    for (let day = 1; day < 28; day++) {
      moment(new Date(2025, 1, day, 9, 5).toISOString(), "ko", now);
    }
    expect([made.mock.calls.length, moment("soon", "ko", now)]).toEqual([1, "–"]);
    made.mockRestore();
  });

  it("name recordings and days", () => {
    expect(stamp(new Date(2026, 0, 5, 9, 5))).toBe("2026-01-05-0905");
    expect(dayStart("2026-01-31")).toBe(new Date(2026, 0, 31).toISOString());
    expect(dayStart("2026-01-31", 1)).toBe(new Date(2026, 1, 1).toISOString());
    expect([dayStart(""), dayStart("x-y-z"), dayStart("9999-12-31", 1), dayStart("999999-01-01"), dayStart("20261-01-31")]).toEqual(["", "", "", "", ""]);
  });
});

describe("a sentence of a server's", () => {
  it("is shown where it is in the console's language", () => {
    expect([isIn("ko", "WAV 파일이 아닙니다."), isIn("en", "This is no WAV file.")]).toEqual([true, true]);
    expect([isIn("ko", "pitch reference not used"), isIn("en", "분석 실패")]).toEqual([false, false]);
  });
});
