import { type ReadonlySignal, signal } from "@preact/signals";
import { jobs } from "../api/client";
import { dropTicket, streamUrl } from "../api/links";
import { asProblem, type Problem } from "../api/problem";
import { ended, type JobDetail } from "../api/types";
import { takeSlot } from "./slots";
import { type StreamEvent, type Live, next, patience, unseen } from "./state";

const pollPause = 2_000; // ms between two polls of a page that is visible
const hiddenPollPause = 5_000;
const silence = 60_000; // ms without a frame, after which the job is read and its stream opened again
const opening = 10_000; // ms within which a stream opens
const pollTime = 300_000; // ms for which a job is polled whose stream does not open

/**
 * Follows a job to its end: by an EventSource where the page is visible and a
 * slot for a stream is free (slots.ts), else by polling. An EventSource reconnects
 * by itself. Where it gives up (the server answered with an error), the job's
 * result tells why, and the stream is opened again later. It is also opened again
 * after a silence: a connection that a network has forgotten looks like one of a
 * job that waits. Where streams do not arrive at all, since an extension blocks
 * them or a proxy holds them back until their end, the job is polled.
 */
export class Follower {
  readonly problem = signal<Problem | null>(null);
  private readonly seen = signal<Live>(unseen);
  private source: EventSource | undefined;
  private freeSlot: (() => void) | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private tries = 0;
  private opened = false; // whether the stream is open
  private pollUntil = 0; // by performance.now()
  private round = 0; // of begin: what an earlier round started is ignored
  private closed = false;

  constructor(private readonly job: string) {
    document.addEventListener("visibilitychange", this.begin);
    addEventListener("online", this.begin);
    this.begin();
  }

  get live(): ReadonlySignal<Live> {
    return this.seen;
  }

  close(): void {
    this.closed = true;
    this.stop();
    document.removeEventListener("visibilitychange", this.begin);
    removeEventListener("online", this.begin);
  }

  /** Looks at the job at once, in the way that suits the page now. */
  private readonly begin = (): void => {
    this.stop();
    if (!this.closed && this.seen.value.link !== "ended") {
      void this.streamOrPoll(this.round);
    }
  };

  private stop(): void {
    this.round++;
    clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
    this.freeSlot?.();
    this.freeSlot = undefined;
  }

  private async streamOrPoll(round: number): Promise<void> {
    const free = document.hidden || performance.now() < this.pollUntil ? undefined : await takeSlot();
    if (round !== this.round) {
      free?.();
    } else if (free) {
      this.freeSlot = free;
      await this.open(round);
    } else {
      await this.look(() => (document.hidden ? hiddenPollPause : pollPause));
    }
  }

  private async open(round: number): Promise<void> {
    let url: string;
    try {
      url = await streamUrl(this.job, this.seen.value.version);
    } catch (thrown) {
      if (round === this.round) {
        this.fail(asProblem(thrown));
      }
      return;
    }
    if (round !== this.round) {
      return;
    }
    const source = new EventSource(url);
    this.source = source;
    this.opened = false;
    this.later(opening, this.readInstead);
    source.onopen = () => {
      this.opened = true;
      this.later(silence, this.readInstead);
      this.take({ kind: "open" });
    };
    source.onmessage = (m: MessageEvent<string>) => {
      this.tries = 0;
      this.later(silence, this.readInstead);
      this.take({ kind: "frame", id: m.lastEventId, data: m.data });
    };
    source.onerror = () => {
      if (this.opened) { // each further error comes from another try to open it
        this.opened = false;
        this.later(opening, this.readInstead);
      }
      this.take({ kind: "error", closed: source.readyState === EventSource.CLOSED });
    };
  }

  /** Reads a job whose stream tells nothing, and begins again: by polling if the server answers and the stream is not open. */
  private readonly readInstead = async (): Promise<void> => {
    const { round } = this;
    this.later(silence); // the answer may never come
    const job = await jobs.get(this.job).catch(() => null); // the next stream tells why there is none
    if (round !== this.round) {
      return;
    }
    if (job) {
      this.show(job);
      this.pollUntil = this.opened ? 0 : performance.now() + pollTime;
    }
    this.begin();
  };

  private take(event: StreamEvent): void {
    this.seen.value = next(this.seen.value, event);
    switch (this.seen.value.link) {
      case "open":
        this.problem.value = null;
        break;
      case "ended":
        this.stop(); // else the EventSource would reconnect once more, for a 204
        break;
      case "lost":
        dropTicket(this.job); // it may have expired while the stream was open
        this.stop();
        void this.look(() => patience(this.tries++));
        break;
    }
  }

  /** Reads the job's result, and begins again after a pause unless the job has ended. */
  private async look(pause: () => number): Promise<void> {
    const { round } = this;
    try {
      const job = await jobs.get(this.job);
      if (round === this.round) {
        this.show(job);
        this.later(pause());
      }
    } catch (thrown) {
      if (round === this.round) {
        this.fail(asProblem(thrown));
      }
    }
  }

  /** Shows a problem, and begins again after a pause if it may pass. */
  private fail(problem: Problem): void {
    this.problem.value = problem;
    this.seen.value = { ...this.seen.value, link: "broken" };
    if (!problem.refusal) {
      this.later(patience(this.tries++));
    }
  }

  private later(ms: number, work: () => unknown = this.begin): void {
    clearTimeout(this.timer);
    if (this.seen.value.link !== "ended") {
      this.timer = setTimeout(work, ms);
    }
  }

  private show(job: JobDetail): void {
    this.problem.value = null;
    const { version } = this.seen.value;
    this.seen.value = { link: ended(job.status) ? "ended" : "open", version, frame: job };
    if (ended(job.status)) {
      this.stop();
    }
  }
}
