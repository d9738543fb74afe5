import { type ReadonlySignal, signal } from "@preact/signals";
import { jobs } from "../api/client";
import { at } from "../api/prefix";
import { asProblem, type Problem } from "../api/problem";
import { ended, type JobDetail } from "../api/types";
import { language, spoken } from "../locale";
import { type Live, next, patience, unseen } from "./state";

/**
 * Follows a job to its end over an EventSource, which comes back by itself where
 * a connection breaks. Where it may not (the server answered with an error) the
 * job's result says why, and the stream is tried again later.
 */
export class Follower {
  readonly problem = signal<Problem | null>(null);
  private readonly seen = signal<Live>(unseen);
  private source: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private tries = 0;
  private closed = false;

  constructor(private readonly job: string) {
    this.open();
  }

  get live(): ReadonlySignal<Live> {
    return this.seen;
  }

  close(): void {
    this.closed = true;
    this.source?.close();
    clearTimeout(this.timer);
  }

  /** Looks at once, where it was waiting to: the network came back, say. */
  hurry(): void {
    if (this.seen.value.link === "lost" && !this.closed) {
      this.look();
    }
  }

  private open(): void {
    const source = new EventSource(at(`/tokens/analysis-progress/${this.job}`));
    this.source = source;
    source.onopen = () => this.tell({ kind: "open" });
    source.onmessage = (m: MessageEvent<string>) => {
      this.tries = 0;
      this.tell({ kind: "frame", id: m.lastEventId, data: m.data });
      if (language.value !== spoken) {
        void this.translate();
      }
    };
    source.onerror = () => this.tell({ kind: "error", closed: source.readyState === EventSource.CLOSED });
  }

  private tell(told: Parameters<typeof next>[1]): void {
    this.seen.value = next(this.seen.value, told);
    switch (this.seen.value.link) {
      case "open":
        this.problem.value = null;
        break;
      case "ended":
        this.source?.close(); // else it would come back once more, for a 204
        break;
      case "lost":
        this.look();
        break;
    }
  }

  /** Asks for the result why there is no stream, and opens it again later. */
  private look(): void {
    clearTimeout(this.timer);
    jobs.get(this.job).then(
      (job) => {
        if (this.closed) {
          return;
        }
        this.show(job);
        if (!ended(job.status)) {
          this.later(() => this.open());
        }
      },
      (thrown: unknown) => {
        if (this.closed) {
          return;
        }
        this.problem.value = asProblem(thrown);
        if (this.problem.value.passing) {
          this.later(() => this.look());
        }
      },
    );
  }

  private later(work: () => void): void {
    this.timer = setTimeout(work, patience(this.tries++));
  }

  private show(job: JobDetail): void {
    this.problem.value = null;
    const { version } = this.seen.value;
    this.seen.value = { link: ended(job.status) ? "ended" : "broken", version, frame: job };
  }

  /**
   * Has the newest frame's message in the console's language. An EventSource asks
   * in the browser's; the result tells the same state in any.
   */
  async translate(): Promise<void> {
    const { version } = this.seen.value;
    const job = await jobs.get(this.job).catch(() => null);
    const now = this.seen.value;
    if (job && now.frame && now.version === version) {
      this.seen.value = { ...now, frame: { ...now.frame, message: job.message } };
    }
  }
}
