import { afterEach, expect, it, vi } from "vitest";
import { clockSkew, learnTime, serverNow } from "./clock";

afterEach(() => {
  vi.useRealTimers();
});

it("the server's time is that of its answers, where this device's clock is wrong", () => {
  vi.useFakeTimers({ now: Date.parse("2026-01-31T09:00:00.700Z") });
  learnTime("Sat, 31 Jan 2026 14:00:00 GMT");
  expect(new Date(serverNow()).toISOString()).toBe("2026-01-31T14:00:00.000Z");
  vi.advanceTimersByTime(2_000);
  expect(new Date(serverNow()).toISOString()).toBe("2026-01-31T14:00:02.000Z");
  for (const nothing of [null, "", "soon"]) {
    learnTime(nothing);
  }
  expect(clockSkew()).toBe(5 * 3_600_000 - 700);
  learnTime("Sat, 31 Jan 2026 09:00:01 GMT"); // the clock was set right, and the answer took a while
  expect([clockSkew(), serverNow()]).toEqual([0, Date.now()]);
});
