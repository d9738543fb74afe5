import { owner } from "../auth/session";

/**
 * A recording that this browser has uploaded or is about to. It is kept until
 * newer ones push it out, so that a reload can upload it again and play it.
 */
export interface Recording {
  key: string; // the upload's Idempotency-Key
  owner?: string; // who has signed in; empty where nobody does
  token: number;
  name: string;
  audio: Blob;
  at: number; // when it was given, in ms
  job?: string;
  fresh?: boolean; // it is to be analysed anew, though its result is known
}

const kept = 12;

/** Whether a recording is the user's. Several users may use a browser, one after the other. */
function own(recording: Recording | undefined): recording is Recording {
  return recording !== undefined && (recording.owner ?? "") === owner();
}

// Where the browser gives no database (a private window), a reload forgets.
const memory = new Map<string, Recording>();
let opened: Promise<IDBDatabase | null> | undefined;

function database(): Promise<IDBDatabase | null> {
  opened ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open("sori", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("recordings", { keyPath: "key" }).createIndex("job", "job");
      request.onsuccess = () => resolve(request.result);
      request.onerror = request.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opened;
}

/** Does one thing in a transaction; undefined where it cannot be done. */
async function inStore<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  const db = await database();
  if (!db) {
    return undefined;
  }
  return new Promise((resolve) => {
    const transaction = db.transaction("recordings", mode);
    const request = work(transaction.objectStore("recordings"));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => resolve(undefined);
  });
}

export async function keep(recording: Recording): Promise<void> {
  memory.set(recording.key, recording);
  await inStore("readwrite", (store) => store.put(recording));
}

export async function find(key: string): Promise<Recording | undefined> {
  const found = memory.get(key) ?? (await inStore<Recording | undefined>("readonly", (store) => store.get(key)));
  return own(found) ? found : undefined;
}

export async function ofJob(job: string): Promise<Recording | undefined> {
  const known = [...memory.values()].find((recording) => recording.job === job);
  const found = known ?? (await inStore<Recording | undefined>("readonly", (store) => store.index("job").get(job)));
  return own(found) ? found : undefined;
}

const keyLife = 24 * 60 * 60 * 1000; // ms that the server remembers a key

/** Recordings whose upload was begun and not answered, which may still go on. */
export async function unfinished(): Promise<Recording[]> {
  return (await allOwn()).filter((recording) => recording.job === undefined && Date.now() - recording.at < keyLife);
}

async function allOwn(): Promise<Recording[]> {
  const all = (await inStore<Recording[]>("readonly", (store) => store.getAll())) ?? [...memory.values()];
  return all.filter(own);
}

/** Forgets all recordings of the user, who signs out. */
export async function forgetAll(): Promise<void> {
  await Promise.all((await allOwn()).map((recording) => forget(recording.key)));
}

export async function forget(key: string): Promise<void> {
  memory.delete(key);
  await inStore("readwrite", (store) => store.delete(key));
}

/** Forgets the oldest beyond what is kept. */
export async function prune(): Promise<void> {
  const all = (await inStore<Recording[]>("readonly", (store) => store.getAll())) ?? [];
  const old = all.sort((a, b) => b.at - a.at).slice(kept);
  await Promise.all(old.map((recording) => forget(recording.key)));
}
