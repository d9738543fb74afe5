import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Recording } from "../audio/recordings";

vi.stubGlobal("navigator", { languages: ["en"] });
const { sendForm } = await import("./form");

/** The newest request, and what the browser tells of it. */
class Request {
  static newest: Request;
  upload: { onprogress?: (e: { loaded: number; total: number }) => void; onload?: () => void } = {};
  onabort?: () => void;
  onload?: () => void;
  onloadend?: () => void;
  status = 0;
  responseText = "";
  open() {}
  setRequestHeader() {}
  send() {
    Request.newest = this;
  }
  abort() {
    this.onabort?.();
    this.onloadend?.();
  }
  answers(status: number, text: string) {
    Object.assign(this, { status, responseText: text });
    this.onload?.();
    this.onloadend?.();
  }
}

const page = new EventTarget();
const audio = new Blob(["a".repeat(100)]);
const recording: Recording = { key: "k", token: 1, name: "a.wav", size: 100, at: 0 };
let sent: number[];

/** Begins to send, and returns what becomes of it. */
async function begin() {
  const outcome = { is: "under way" };
  const stop = new AbortController();
  void sendForm({
    recording, audio, signal: stop.signal, credential: () => Promise.resolve(""), sent: (bytes) => sent.push(bytes), whole: () => undefined, begun: () => undefined, stored: () => undefined,
  }).then((job) => (outcome.is = job), (problem: Error) => (outcome.is = problem.message));
  await vi.advanceTimersByTimeAsync(0);
  return { outcome, stop };
}

const minutes = (n: number) => vi.advanceTimersByTimeAsync(n * 60_000);

beforeEach(() => {
  sent = [];
  vi.useFakeTimers();
  vi.stubGlobal("XMLHttpRequest", Request);
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a form that is sent", () => {
  it("has broken after a minute and a half without progress", async () => {
    const { outcome } = await begin();
    for (const loaded of [10, 20]) {
      await minutes(1.4);
      Request.newest.upload.onprogress?.({ loaded, total: 200 });
    }
    expect([outcome.is, sent]).toEqual(["under way", [5, 10]]);
    await minutes(1.6);
    expect(outcome.is).toBe("0 offline");
  });

  it("has an answer when it is there, however long that takes", async () => {
    const { outcome } = await begin();
    Request.newest.upload.onprogress?.({ loaded: 200, total: 200 });
    Request.newest.upload.onload?.();
    await minutes(10);
    Request.newest.answers(202, '{"job_id":"j"}');
    await minutes(2);
    expect(outcome.is).toBe("j");
  });

  it("has broken when the browser is offline, or the user stops it", async () => {
    for (const end of [() => page.dispatchEvent(new Event("offline")), (stop: AbortController) => stop.abort()]) {
      const { outcome, stop } = await begin();
      end(stop);
      await minutes(0);
      expect(outcome.is).toBe("0 offline");
    }
  });
});
