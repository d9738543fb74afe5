import { credential, replaced } from "../auth/session";
import { language } from "../locale";
import { learnTime } from "./clock";
import { at } from "./prefix";
import { offline, problemOf, textOf } from "./problem";
import type { JobDetail, JobPage, Limits, Script, Ticket, Token } from "./types";

/**
 * Sends a request with the user's credential. If the server refuses the credential, the
 * request waits for another one, and is sent again.
 */
async function send(path: string, init: RequestInit): Promise<Response> {
  for (;;) {
    const used = await credential();
    const headers = used === "" ? init.headers : { ...init.headers, Authorization: `Bearer ${used}` };
    let reply: Response;
    try {
      reply = await fetch(at(path), { ...init, ...(headers && { headers }) });
    } catch (cause) {
      throw init.signal?.aborted ? cause : offline();
    }
    learnTime(reply.headers.get("Date"));
    if (reply.status !== 401) {
      return reply;
    }
    await replaced(used, problemOf(reply.status, await textOf(reply, init.signal), null), init.signal);
  }
}

/** Asks the gateway. What it refuses is thrown as a Problem. */
async function ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal, more?: Record<string, string>): Promise<T> {
  const init: RequestInit = { method, headers: { Accept: "application/json", "Accept-Language": language.value, ...more } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, "Content-Type": "application/json" };
  }
  if (signal) {
    init.signal = signal;
  }
  const reply = await send(path, init);
  const text = await textOf(reply, signal);
  if (!reply.ok) {
    throw problemOf(reply.status, text, reply.headers.get("Retry-After"));
  }
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

function query(values: Record<string, string | number | undefined>): string {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== "") {
      q.set(name, String(value));
    }
  }
  return String(q) === "" ? "" : `?${q}`;
}

/** Asks whether the user's credential still counts; if it does not, waits for another one. */
export const checkCredential = () => ask<unknown>("GET", "/me");

/** A token without what the server gives it. */
export type NewToken = Pick<Token, "token_name" | "actor_name" | "start_time" | "end_time"> & Partial<Token>;
export type NewScript = Omit<Script, "id">;

/** What may be uploaded, and how. */
export const limits = (signal?: AbortSignal) => ask<Limits>("GET", "/limits", undefined, signal);

/** Has the recording at a URL analysed. The same key begins one job only. */
export const analyze = (token: number, url: string, key: string) =>
  ask<{ job_id: string }>("POST", `/tokens/${token}/analyze`, { audio_url: url }, undefined, { "Idempotency-Key": key });

export const tokens = {
  list: (q: string, limit: number, signal?: AbortSignal) => ask<Token[]>("GET", `/tokens/${query({ q, limit })}`, undefined, signal),
  get: (id: number | string, signal?: AbortSignal) => ask<Token>("GET", `/tokens/${id}`, undefined, signal),
  create: (token: NewToken) => ask<Token>("POST", "/tokens/", token),
};

export const scripts = {
  create: (script: NewScript) => ask<Script>("POST", "/scripts/", script),
};

export interface JobFilter {
  status?: string | undefined;
  token_id?: string | undefined;
  created_after?: string | undefined;
  created_before?: string | undefined;
}

export const jobs = {
  list: (filter: JobFilter, limit: number, cursor?: string, signal?: AbortSignal) =>
    ask<JobPage>("GET", `/jobs/${query({ ...filter, limit, cursor })}`, undefined, signal),
  get: (id: string, signal?: AbortSignal) => ask<JobDetail>("GET", `/tokens/analysis-result/${id}`, undefined, signal),
  cancel: (id: string) => ask<void>("POST", `/jobs/${id}/cancel`),
  retry: (id: string) => ask<void>("POST", `/jobs/${id}/retry`),
  remove: (id: string) => ask<void>("DELETE", `/jobs/${id}`),
  ticket: (id: string) => ask<Ticket>("POST", `/jobs/${id}/ticket`),
};

const tus = { "Tus-Resumable": "1.0.0" };

/**
 * Removes a resumable upload, with what has been sent of it. Returns the job where the upload
 * has become one: then it can no longer be removed. keepalive: also if the page ends meanwhile.
 */
export async function removeUpload(id: string, keepalive = false): Promise<string | null> {
  const reply = await send(`/uploads/${id}`, { method: "DELETE", headers: tus, keepalive });
  if (reply.status !== 404) {
    return null;
  }
  return (await send(`/uploads/${id}`, { method: "HEAD", headers: tus, keepalive })).headers.get("Sori-Job");
}

/**
 * Whether the stored audio of a job can be played. The answer is a redirect to a
 * presigned URL: it is not followed here, only by the media element.
 */
export async function hasStoredAudio(job: string, signal?: AbortSignal): Promise<boolean> {
  const reply = await send(`/jobs/${job}/audio`, { redirect: "manual", signal: signal ?? null });
  void reply.body?.cancel();
  const problem = problemOf(reply.status, "", reply.headers.get("Retry-After"));
  if (problem.passing || reply.status >= 500) {
    throw problem;
  }
  return reply.type === "opaqueredirect" || reply.ok;
}
