import { owner } from "../auth/session";

/**
 * A recording that this browser has uploaded or is about to. It is kept until
 * newer ones push it out, so that a reload can go on with its upload and play it.
 */
export interface Recording {
  key: string; // the upload's Idempotency-Key
  owner?: string; // who has signed in; empty where nobody does
  token: number;
  name: string;
  size: number; // bytes
  audio?: Blob; // absent where the browser has not kept it
  at: number; // when it was given, in ms
  job?: string;
  fresh?: boolean; // it is to be analysed anew, though its result is known
  inParts?: boolean; // it is sent in parts, by a resumable upload
  upload?: string; // the id of its resumable upload, once it is begun
  stored?: number; // bytes of it that the server has, as far as the page knows
  paused?: boolean; // by the user
  recorded?: boolean; // by the microphone: nobody can choose it again
  sample?: Uint8Array; // by which its file is recognised when it has to be chosen again
}

const kept = 12;
const keptBytes = 512e6; // of recordings whose upload has ended, which are kept to be played
const largestKept = 1e9; // bytes; a larger file has to be chosen again after a reload

/** Whether a recording is the user's. Several users may use a browser, one after the other. */
function own(recording: Recording | undefined): recording is Recording {
  return recording !== undefined && (recording.owner ?? "") === owner();
}

// Audio that this page was given: it is there at once, also where the browser gives no
// database (a private window) or has no room. There, a reload forgets.
const memory = new Map<string, Recording>();
let opened: Promise<IDBDatabase | null> | undefined;

function database(): Promise<IDBDatabase | null> {
  opened ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open("sori", 2);
      request.onupgradeneeded = (e) => upgrade(request, e.oldVersion);
      request.onsuccess = () => {
        request.result.onversionchange = () => request.result.close(); // else a tab with a newer console would wait for this one
        request.result.onclose = () => (opened = undefined); // by the browser, such as that of a phone which was put away
        resolve(request.result);
      };
      request.onerror = request.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opened;
}

// Audio has a store of its own, since browsers copy it whenever it is put. Version 1 had it
// in the recordings.
function upgrade({ result: db, transaction }: IDBOpenDBRequest, from: number): void {
  const audio = db.createObjectStore("audio");
  if (from === 0) {
    db.createObjectStore("recordings", { keyPath: "key" }).createIndex("job", "job");
    return;
  }
  const all = (transaction as IDBTransaction).objectStore("recordings").openCursor();
  all.onsuccess = () => {
    if (all.result) {
      const { audio: blob, ...rest } = all.result.value as Recording & { audio: Blob };
      audio.put(blob, rest.key);
      all.result.update({ ...rest, size: blob.size });
      all.result.continue();
    }
  };
}

/** Does one thing in a transaction; undefined where it cannot be done. */
async function inStore<T>(name: "recordings" | "audio", mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  const db = await database();
  if (!db) {
    return undefined;
  }
  return new Promise((resolve) => {
    try {
      const transaction = db.transaction(name, mode);
      const request = work(transaction.objectStore(name));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => resolve(undefined);
    } catch {
      resolve(undefined); // closed for a newer version
    }
  });
}

/** Stores what is known of a recording, apart from its audio. */
export async function note(recording: Recording): Promise<void> {
  memory.set(recording.key, recording);
  const { audio, ...rest } = recording;
  await inStore("recordings", "readwrite", (store) => store.put(rest));
}

/** Stores a recording with its audio, if the browser has room for it, and tells whether it has. */
export async function keep(recording: Recording): Promise<boolean> {
  await note(recording);
  const { key, audio } = recording;
  if (!audio || !(await hasRoom(audio.size)) || !memory.has(key)) { // it may have been discarded meanwhile
    return false;
  }
  return (await inStore("audio", "readwrite", (store) => store.put(audio, key))) !== undefined;
}

async function hasRoom(bytes: number): Promise<boolean> {
  const storage = navigator.storage as StorageManager | undefined; // not on pages without TLS
  const { quota = Infinity, usage = 0 } = (await storage?.estimate().catch(() => undefined)) ?? {};
  return bytes <= largestKept && usage + 2 * bytes < quota;
}

/** The recording of a key. */
export async function find(key: string): Promise<Recording | undefined> {
  const found = (await inStore<Recording | undefined>("recordings", "readonly", (store) => store.get(key))) ?? memory.get(key);
  return own(found) ? withAudio(found) : undefined;
}

/** The recording of a job, if its audio is kept. */
export async function ofJob(job: string): Promise<(Recording & { audio: Blob }) | undefined> {
  const known = [...memory.values()].find((recording) => recording.job === job);
  const found = known ?? (await inStore<Recording | undefined>("recordings", "readonly", (store) => store.index("job").get(job)));
  const whole = own(found) ? await withAudio(found) : undefined;
  return whole?.audio && { ...whole, audio: whole.audio };
}

async function withAudio(recording: Recording): Promise<Recording> {
  const { key } = recording;
  const audio = memory.get(key)?.audio ?? (await inStore<Blob | undefined>("audio", "readonly", (store) => store.get(key)));
  return audio ? { ...recording, audio } : recording;
}

const hour = 60 * 60 * 1000; // ms
const keyLife = 24 * hour; // the server remembers a key so long
const partsLife = 7 * 24 * hour; // beyond the life of an upload at the server: then it begins anew

/** Whether an upload was begun and not answered, and may still go on. */
export function isUnfinished({ job, at, inParts }: Recording, now = Date.now()): boolean {
  return job === undefined && now - at < (inParts ? partsLife : keyLife);
}

/** The user's recordings whose upload may still go on, without their audio. */
export async function unfinished(): Promise<Recording[]> {
  return (await allOwn()).filter((recording) => isUnfinished(recording));
}

async function allOwn(): Promise<Recording[]> {
  return (await all()).filter(own);
}

async function all(): Promise<Recording[]> {
  return (await inStore<Recording[]>("recordings", "readonly", (store) => store.getAll())) ?? [...memory.values()];
}

/** Forgets all recordings of the user, who signs out. */
export async function forgetAll(): Promise<void> {
  await Promise.all((await allOwn()).map((recording) => forget(recording.key)));
}

/** Forgets the recording of a job that is deleted. */
export async function forgetJob(job: string): Promise<void> {
  const known = [...memory.values(), ...(await all())].filter((recording) => own(recording) && recording.job === job);
  await Promise.all(known.map((recording) => forget(recording.key)));
}

export async function forget(key: string): Promise<void> {
  memory.delete(key);
  await Promise.all([inStore("recordings", "readwrite", (store) => store.delete(key)), inStore("audio", "readwrite", (store) => store.delete(key))]);
}

/** Forgets the oldest beyond what is kept. */
export async function prune(): Promise<void> {
  await Promise.all(excess(await all()).map((recording) => forget(recording.key)));
}

/** The recordings that are not kept: all but the newest, and never one whose upload may still go on. */
export function excess(recordings: Recording[], now = Date.now()): Recording[] {
  const done = recordings.filter((recording) => !isUnfinished(recording, now)).sort((a, b) => b.at - a.at);
  let bytes = 0;
  return done.filter(({ size }, i) => (bytes += size) > keptBytes || i >= kept);
}
