import { signal } from "@preact/signals";
import { at } from "../api/prefix";
import { asProblem, offline, Problem, problemOf } from "../api/problem";
import { forget, keep, prune, type Recording } from "../audio/recordings";
import { language } from "../locale";
import type { Sent } from "./bar";
import { patience } from "./state";

const tries = 6; // with growing pauses: about a minute and a half

/**
 * An upload, which goes on while its user looks elsewhere in the console. It is
 * made again under the same Idempotency-Key until it is answered, so that no
 * break makes two jobs of it; after a reload, too.
 */
export class Upload {
  readonly sent = signal<Sent>({ bytes: 0, total: 0 });
  readonly job = signal<string | null>(null);
  readonly problem = signal<Problem | null>(null);
  readonly paused = signal(false); // between two tries
  private request: XMLHttpRequest | undefined;
  private canceled = false;

  constructor(readonly recording: Recording) {
    void this.run();
  }

  /** Starts again after a problem. */
  again(): void {
    this.problem.value = null;
    void this.run();
  }

  cancel(): void {
    this.canceled = true;
    this.request?.abort();
    uploads.delete(this.recording.key);
    void forget(this.recording.key);
  }

  private async run(): Promise<void> {
    for (let n = 0; !this.canceled; n++) {
      try {
        const job = await this.send();
        void keep({ ...this.recording, job });
        this.job.value = job;
        return;
      } catch (thrown) {
        const problem = asProblem(thrown);
        if (this.canceled || !problem.passing || n + 1 >= tries) {
          this.problem.value = this.canceled ? null : problem;
          if (problem.refusal) {
            void forget(this.recording.key); // it would be refused again
          }
          return;
        }
        this.paused.value = true;
        await pause(Math.max(problem.retryAfter * 1000, patience(n) / 2));
        this.paused.value = false;
      }
    }
  }

  /** Sends the form once; XMLHttpRequest, since fetch tells no upload progress. */
  private send(): Promise<string> {
    const { recording } = this;
    const form = new FormData();
    form.append("file", recording.audio, recording.name);
    const request = new XMLHttpRequest();
    this.request = request;
    return new Promise((resolve, reject) => {
      request.upload.onprogress = (e) => (this.sent.value = { bytes: e.loaded, total: e.total });
      request.onerror = request.onabort = () => reject(offline());
      request.onload = () => {
        if (request.status === 202) {
          resolve((JSON.parse(request.responseText) as { job_id: string }).job_id);
        } else {
          reject(problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
        }
      };
      request.open("POST", at(`/tokens/${recording.token}/upload-audio`));
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("Accept-Language", language.value);
      request.setRequestHeader("Idempotency-Key", recording.key);
      request.send(form);
    });
  }
}

const uploads = new Map<string, Upload>();

/** The upload of a key, if it is this page's. */
export function running(key: string): Upload | undefined {
  return uploads.get(key);
}

/** Uploads a recording, unless that is under way. */
export function upload(recording: Recording): Upload {
  let found = uploads.get(recording.key);
  if (!found) {
    found = new Upload(recording);
    uploads.set(recording.key, found);
  }
  return found;
}

/** Uploads a recording and meanwhile keeps it, for reloads. */
export function begin(token: number, name: string, audio: Blob): Upload {
  const recording: Recording = { key: newKey(), token, name, audio, at: Date.now() };
  void keep(recording).then(prune);
  return upload(recording);
}

/** A random key; crypto.randomUUID is not there on pages without TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
