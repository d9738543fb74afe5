import { signal } from "@preact/signals";
import { checkCredential, jobs } from "../api/client";
import { at } from "../api/prefix";
import { asProblem, offline, Problem, problemOf } from "../api/problem";
import { credential, owner, replaced } from "../auth/session";
import { forget, keep, prune, type Recording } from "../audio/recordings";
import { language } from "../locale";
import type { Sent } from "./bar";
import { resendPause } from "./state";

/**
 * An upload, which goes on while its user looks elsewhere in the console. Where it
 * breaks it is sent again from the start, under the same Idempotency-Key, so that
 * no break makes two jobs of it; after a reload, too. It gives up when its pauses
 * add up to a minute and a half.
 */
export class Upload {
  readonly sent = signal<Sent>({ bytes: 0, total: 0 });
  readonly job = signal<string | null>(null);
  readonly problem = signal<Problem | null>(null);
  readonly paused = signal<Problem | null>(null); // why it waits to be sent again
  readonly canceled = signal(false);
  private request: XMLHttpRequest | undefined;
  private whole = false; // every byte is sent, and the server may make a job

  constructor(readonly recording: Recording) {
    void this.run();
  }

  /** Starts again after a problem. */
  again(): void {
    this.problem.value = null;
    void this.run();
  }

  /**
   * Gives the upload up. Where every byte is sent already, its answer is awaited:
   * it names the job to take back.
   */
  cancel(): void {
    this.canceled.value = true;
    if (!this.whole) {
      this.request?.abort();
    }
    uploads.delete(this.recording.key);
    void forget(this.recording.key);
  }

  private async run(): Promise<void> {
    for (let n = 0, waited = 0; !this.canceled.value; n++) {
      try {
        const job = await this.sendSignedIn();
        if (this.canceled.value) {
          return await takeBack(job);
        }
        void keep({ ...this.recording, job });
        this.job.value = job;
        return;
      } catch (thrown) {
        const problem = asProblem(thrown);
        const ms = resendPause(n, waited, problem.retryAfter);
        if (this.canceled.value || !problem.passing || ms === undefined) {
          this.end(problem);
          return;
        }
        waited += ms;
        await this.pause(problem, ms);
      }
    }
  }

  private end(problem: Problem): void {
    if (this.canceled.value) {
      return;
    }
    this.problem.value = problem;
    if (problem.refusal) {
      void forget(this.recording.key); // it would be refused again
    }
  }

  /** Waits before the next try; not longer than the browser is offline. */
  private async pause(why: Problem, ms: number): Promise<void> {
    this.paused.value = why;
    this.sent.value = { ...this.sent.value, bytes: 0 };
    await new Promise<void>((resolve) => {
      setTimeout(resolve, ms);
      addEventListener("online", () => resolve(), { once: true });
    });
    this.paused.value = null;
  }

  /** Sends the form, and again where the server has refused the user's credential. */
  private async sendSignedIn(): Promise<string> {
    for (;;) {
      const used = await credential();
      try {
        return await this.send(used);
      } catch (thrown) {
        const problem = asProblem(thrown);
        if (problem.code === "offline" && used !== "") {
          await checkCredential().catch(() => undefined); // a refusal in the middle of a body may look like a broken connection
        }
        if (problem.status !== 401) {
          throw problem;
        }
        this.sent.value = { ...this.sent.value, bytes: 0 };
        await replaced(used, problem);
      }
    }
  }

  /** Sends the form once; XMLHttpRequest, since fetch tells no upload progress. */
  private send(used: string): Promise<string> {
    const { recording } = this;
    const form = new FormData();
    form.append("file", recording.audio, recording.name);
    const request = new XMLHttpRequest();
    this.request = request;
    this.whole = false;
    return new Promise((resolve, reject) => {
      request.upload.onprogress = (e) => (this.sent.value = { bytes: e.loaded, total: e.total });
      request.upload.onload = () => (this.whole = true);
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
      if (recording.fresh) {
        request.setRequestHeader("Cache-Control", "no-cache");
      }
      if (used !== "") {
        request.setRequestHeader("Authorization", `Bearer ${used}`);
      }
      request.send(form);
    });
  }
}

/** Cancels and deletes the job of an upload that was given up. */
async function takeBack(job: string): Promise<void> {
  await jobs.cancel(job).catch(() => undefined); // it may have ended already
  await jobs.remove(job).catch(() => undefined); // it stays canceled, in the list
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

/** Uploads a recording and meanwhile keeps it, for reloads. A fresh one is analysed anew, though its result is known. */
export function begin(token: number, name: string, audio: Blob, fresh = false): Upload {
  const recording: Recording = { key: newKey(), owner: owner(), token, name, audio, at: Date.now(), fresh };
  void keep(recording).then(prune);
  return upload(recording);
}

const discards = new BroadcastChannel("sori.discards");
discards.onmessage = (m: MessageEvent<string>) => running(m.data)?.cancel();

/** Gives up the upload of a key, whichever tab sends it, and forgets its recording. */
export async function discard(key: string): Promise<void> {
  discards.postMessage(key);
  running(key)?.cancel();
  await forget(key);
}

/** A random key; crypto.randomUUID is not there on pages without TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
