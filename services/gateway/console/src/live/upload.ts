import { signal } from "@preact/signals";
import { checkCredential, jobs, removeUpload } from "../api/client";
import { newKey } from "../api/key";
import { asProblem, offline, Problem } from "../api/problem";
import { credential, owner, replaced } from "../auth/session";
import { guard } from "../audio/guard";
import { find, forget, keep, note, prune, type Recording, unfinished } from "../audio/recordings";
import { isSame, sampleOf } from "../audio/sample";
import type { Sent } from "./bar";
import { sendForm } from "./form";
import { awaitLock, takenLocks, tryLock } from "./locks";
import { largestForm, sendInParts } from "./parts";
import { pauseAfter } from "./state";

const most = 3; // times that an upload which the server no longer has begins anew

/**
 * An upload, which goes on while its user looks elsewhere in the console.
 *
 * 1. A small file is sent in a form. Where that breaks, it is sent again from the start, under the
 *    same Idempotency-Key, so that no break makes two jobs of it. It gives up when its pauses add up
 *    to a minute and a half.
 * 2. A large file is sent in parts. Where that breaks, it goes on where it stopped, however long the
 *    server was away. Its user may pause it.
 * 3. After a reload, either goes on with what the browser has kept. A file that was not kept has to
 *    be chosen again.
 * 4. One tab sends at a time. Another one waits, and goes on when that tab is closed.
 */
export class Upload {
  readonly sent = signal<Sent>({ bytes: 0, total: 0 });
  readonly job = signal<string | null>(null);
  readonly problem = signal<Problem | null>(null);
  readonly broken = signal<Problem | null>(null); // why it waits to go on
  readonly paused = signal(false); // by its user
  readonly canceled = signal(false);
  readonly elsewhere = signal(false); // another tab sends it
  readonly anew = signal(false); // the server no longer had what was sent before
  readonly only = signal(false); // this page alone has the recording, and nobody can choose it again
  readonly file = signal<"here" | "missing" | "another">("here"); // another: not the one that was begun with

  private runs = Promise.resolve(); // one after the other
  private stop = new AbortController(); // of the current run
  private used = ""; // the credential of the last request
  private whole = false; // every byte is sent, and the server may make a job

  constructor(public recording: Recording) {
    this.paused.value = recording.paused === true;
    this.sent.value = { bytes: recording.stored ?? 0, total: recording.size };
    this.go();
  }

  /** Starts again after a problem. */
  again(): void {
    this.problem.value = null;
    this.go();
  }

  pause(): void {
    this.paused.value = true;
    void this.change({ paused: true });
    this.stop.abort();
  }

  resume(): void {
    this.paused.value = false;
    void this.change({ paused: false });
    this.go();
  }

  /** Goes on with a file that its user has chosen again. */
  async supply(audio: Blob): Promise<void> {
    const { size, sample } = this.recording;
    const same = sample ? await isSame(audio, size, sample).catch(() => false) : audio.size === size;
    this.file.value = same ? "here" : "another";
    if (same) {
      this.recording = { ...this.recording, audio };
      void keep(this.recording);
      this.go();
    }
  }

  /**
   * Gives the upload up, and takes back what the server has of it. Where every byte is sent
   * already, the answer is awaited: it names the job to take back. An upload that has become a
   * job is over: whoever gives it up has not seen that yet.
   */
  cancel(): void {
    if (this.recording.job !== undefined) {
      return;
    }
    this.canceled.value = true;
    if (!this.whole) {
      this.stop.abort();
    }
    uploads.delete(this.recording.key);
    void forget(this.recording.key);
    this.runs = this.runs.then(() => takeBack(this.recording));
  }

  private get halted(): boolean {
    return this.canceled.value || this.paused.value;
  }

  private go(): void {
    this.runs = this.runs.then(() => this.run());
  }

  private async change(changes: Partial<Recording>): Promise<void> {
    this.recording = { ...this.recording, ...changes };
    if (!this.canceled.value) {
      await note(this.recording);
    }
  }

  /** Sends the recording, when no other tab does. */
  private async run(): Promise<void> {
    const free = (await tryLock(lockOf(this.recording.key))) ?? (await this.waitForOther());
    this.stop = new AbortController();
    this.whole = false;
    try {
      if (!this.halted && this.recording.job === undefined) {
        await this.send();
      }
      if (this.recording.job !== undefined && !this.canceled.value) {
        this.job.value = this.recording.job;
      }
    } finally {
      this.broken.value = null;
      free();
    }
  }

  /** Shows what another tab has sent. */
  hear(bytes: number): void {
    if (this.elsewhere.value) {
      this.sent.value = { ...this.sent.value, bytes };
    }
  }

  /** Waits until another tab has ended, and goes on where that one was. */
  private async waitForOther(): Promise<() => void> {
    this.elsewhere.value = true;
    const free = await awaitLock(lockOf(this.recording.key));
    const { audio, key } = this.recording;
    this.recording = { ...((await find(key)) ?? this.recording), ...(audio && { audio }) };
    this.sent.value = { bytes: this.recording.stored ?? 0, total: this.recording.size };
    this.paused.value = this.recording.paused === true;
    this.elsewhere.value = false;
    return free;
  }

  /** Sends until the server has made a job, or there is a problem that does not pass. */
  private async send(): Promise<void> {
    const { signal: stopped } = this.stop; // a later run has another one
    for (let n = 0, waited = 0, anew = 0; !this.halted && !stopped.aborted; n++) {
      const { audio } = this.recording;
      if (!audio) {
        this.file.value = "missing";
        return;
      }
      const before = this.recording.stored ?? 0;
      try {
        await this.change({ job: await this.sendSignedIn(audio) }); // before another tab may look
        this.dropAudio();
        void prune();
        return;
      } catch (thrown) {
        const problem = asProblem(thrown);
        if (this.halted || stopped.aborted) {
          return;
        }
        if (problem.code === "upload-not-found" && anew++ < most) {
          this.beginAnew();
          continue;
        }
        if (problem.code === "offline" && !(await canRead(audio))) {
          this.forgetAudio();
          continue;
        }
        if ((this.recording.stored ?? 0) > before) {
          n = waited = 0;
        }
        const ms = pauseAfter(problem, this.recording.inParts === true, n, waited);
        if (ms === undefined) {
          this.fail(problem);
          return;
        }
        waited += ms;
        await this.rest(problem, ms);
      }
    }
  }

  /** Shows what is sent. A break is told until then, not only between two tries: a screen reader would hear of each of them. */
  private moved(sent: Sent): void {
    this.sent.value = sent;
    this.broken.value = null;
  }

  private fail(problem: Problem): void {
    this.problem.value = problem;
    if (problem.refusal && !this.recording.recorded) {
      void forget(this.recording.key); // it would be refused again
    }
  }

  /** Keeps the id of the upload; one that was given up meanwhile is taken back. */
  private begun(upload: string): void {
    void this.change({ upload });
    if (this.canceled.value) {
      void takeBack(this.recording);
    }
  }

  private beginAnew(): void {
    const { upload, stored, ...rest } = this.recording;
    this.recording = rest;
    void this.change({});
    this.anew.value = true;
    this.sent.value = { ...this.sent.value, bytes: 0 };
  }

  private forgetAudio(): void {
    this.dropAudio();
    void this.change({});
  }

  /** Holds the audio no longer, which is large: the newest recordings are kept elsewhere, to be played. */
  private dropAudio(): void {
    const { audio, ...rest } = this.recording;
    this.recording = rest;
  }

  /** Waits before the next try; not longer than the browser is offline. */
  private async rest(why: Problem, ms: number): Promise<void> {
    if (this.stop.signal.aborted) {
      return;
    }
    this.broken.value = why;
    if (!this.recording.inParts) {
      this.sent.value = { ...this.sent.value, bytes: 0 };
    }
    const over = new AbortController();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      const end = () => (clearTimeout(timer), resolve());
      addEventListener("online", end, { signal: over.signal });
      document.addEventListener("visibilitychange", end, { signal: over.signal }); // a phone that was put away
      this.stop.signal.addEventListener("abort", end, { signal: over.signal });
    });
    over.abort();
  }

  /** Sends the recording, and again where the server has refused the user's credential. */
  private async sendSignedIn(audio: Blob): Promise<string> {
    const way = this.recording.inParts ? sendInParts : sendForm;
    for (;;) {
      if (this.stop.signal.aborted) {
        throw offline(); // it was paused while the user signed in again
      }
      try {
        return await way({
          recording: this.recording,
          audio,
          signal: this.stop.signal,
          credential: async () => (this.used = await credential()),
          sent: (bytes) => this.moved({ bytes, total: audio.size }),
          whole: () => (this.whole = true),
          begun: (upload) => this.begun(upload),
          stored: (bytes) => {
            void this.change({ stored: bytes });
            progress.postMessage({ key: this.recording.key, bytes } satisfies Progress);
          },
        });
      } catch (thrown) {
        this.whole = false;
        const problem = asProblem(thrown);
        if (this.stop.signal.aborted) {
          throw problem;
        }
        if (problem.code === "offline" && this.used !== "") {
          await checkCredential().catch(() => undefined); // a refusal in the middle of a body may look like a broken connection
        }
        if (problem.status !== 401) {
          throw problem;
        }
        await replaced(this.used, problem, this.stop.signal);
      }
    }
  }
}

const lockOf = (key: string) => `sori.upload.${key}`;

/** Whether a file can be read still: one that was changed or removed cannot. */
async function canRead(audio: Blob): Promise<boolean> {
  try {
    await audio.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** Cancels and deletes the job of an upload that was given up, or removes what the server has of the upload. */
async function takeBack({ job, upload }: Recording): Promise<void> {
  const made = job ?? (upload === undefined ? null : await removeUpload(upload).catch(() => null)); // the server removes what is left by itself
  if (made !== null) {
    await jobs.cancel(made).catch(() => undefined); // it may have ended already
    await jobs.remove(made).catch(() => undefined); // it stays canceled, in the list
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

/** How a recording is uploaded. */
export interface Options {
  fresh?: boolean; // it is analysed anew, though its result is known
  recorded?: boolean; // by the microphone
  formBytes?: number; // the size of the largest form, if the server tells it
}

/** Uploads a recording and meanwhile keeps it, for reloads. */
export async function begin(token: number, name: string, audio: Blob, { fresh = false, recorded = false, formBytes = Infinity }: Options = {}): Promise<Upload> {
  const inParts = audio.size > Math.min(largestForm, formBytes);
  const sample = inParts ? await sampleOf(audio).catch(() => undefined) : undefined; // what cannot be read is noticed when it is sent
  const recording: Recording = { key: newKey(), owner: owner(), token, name, size: audio.size, audio, at: Date.now(), fresh, recorded, inParts, ...(sample && { sample }) };
  const kept = keep(recording);
  const begun = upload(recording);
  begun.only.value = recorded;
  guard(() => begun.only.value && begun.job.value === null && !begun.canceled.value);
  void kept.then((stored) => (stored && (begun.only.value = false), prune()));
  return begun;
}

/** How much of an upload the server has, for the tabs that do not send it. */
interface Progress {
  key: string;
  bytes: number;
}

const progress = new BroadcastChannel("sori.progress");
progress.onmessage = ({ data: { key, bytes } }: MessageEvent<Progress>) => running(key)?.hear(bytes);

const discards = new BroadcastChannel("sori.discards");
discards.onmessage = (m: MessageEvent<string>) => running(m.data)?.cancel();

/** Gives up the upload of a key, whichever tab sends it, and forgets its recording, unless it has become a job. */
export async function discard(key: string): Promise<void> {
  const here = running(key);
  const recording = here?.recording ?? (await find(key));
  if (recording?.job !== undefined) {
    return;
  }
  discards.postMessage(key);
  here?.cancel();
  await forget(key);
  if (recording && !here) {
    void takeBack(recording);
  }
}

/** The keys of the uploads that some tab sends. */
export async function sending(): Promise<Set<string>> {
  const prefix = lockOf("");
  return new Set((await takenLocks()).filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length)));
}

/**
 * Gives the unfinished uploads of the user up, who signs out. It does not wait for the server to remove
 * what it has.
 */
export async function abandon(): Promise<void> {
  const left = await unfinished();
  for (const upload of uploads.values()) {
    upload.cancel();
  }
  for (const { upload } of left) {
    if (upload !== undefined) {
      void removeUpload(upload, true).catch(() => undefined);
    }
  }
}
