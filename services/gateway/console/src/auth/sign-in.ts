import { signal } from "@preact/signals";
import { learnTime } from "../api/clock";
import { at } from "../api/prefix";
import { offline, Problem, problemOf, textOf } from "../api/problem";
import { forgetAll } from "../audio/recordings";
import { abandon } from "../live/upload";
import { asProviderError, Provider, type ProviderTrouble, type SignInRequest } from "./provider";
import { admit, beginning, config, isOver, leave, type Me, owner, resume, session, type SignInConfig } from "./session";
import { load, noteSignOut, store } from "./storage";

// At first, this tab goes to the provider, and comes back to the page where it was. To sign
// in again, another window goes there, so that nothing on the page is lost. That window
// gives the provider's answer to this one, which has the secrets of the request.

/**
 * Why the last sign-in at the provider failed: "lost" if it was not begun in this browser,
 * a problem if the server does not accept what the provider has given.
 */
export const trouble = signal<ProviderTrouble | "lost" | Problem | null>(null);

/** A request of this tab, and the page to come back to. */
interface Departure extends SignInRequest {
  back: string;
}

type Message = { kind: "answer"; url: string } | { kind: "taken"; state: string } | { kind: "signed-out"; owner: string };

let provider: Provider | null = null;
let again: SignInRequest | null = null; // sent by the other window
const tabs = new BroadcastChannel("sori.session");

/**
 * Asks how to sign in, completes a sign-in that comes back, and takes up the session of
 * this tab. "elsewhere" means that this window has signed in for another one.
 */
export async function start(): Promise<"here" | "elsewhere"> {
  const read = await ask<SignInConfig>("/console/config.json");
  provider = read.oidc && new Provider(read.oidc, new URL(at("/console"), location.origin).href);
  if (comesBack() && (await comeBack()) === "elsewhere") {
    store("session", null); // a copy of the other window's
    return "elsewhere";
  }
  config.value = read;
  resume(provider);
  tabs.addEventListener("message", (m: MessageEvent<Message>) => void receive(m.data));
  addEventListener("pageshow", () => { // a page to which Back leads was told nothing meanwhile
    const s = session.peek();
    if (s !== null && isOver(s)) {
      forgetUser();
    }
  });
  return "here";
}

/** Ends the session of this tab, and whatever the page shows of its user. */
function forgetUser(): void {
  leave();
  location.reload();
}

/** Asks the server before anybody has signed in. */
async function ask<T>(path: string, headers: Record<string, string> = {}): Promise<T> {
  let reply: Response;
  try {
    reply = await fetch(at(path), { headers: { Accept: "application/json", ...headers } });
  } catch {
    throw offline();
  }
  learnTime(reply.headers.get("Date"));
  const text = await textOf(reply);
  if (!reply.ok) {
    throw problemOf(reply.status, text, reply.headers.get("Retry-After"));
  }
  return JSON.parse(text) as T;
}

/** Asks the server whose a credential is. Throws its problem if it does not accept the credential. */
const whose = (credential: string) => ask<Me>("/me", { Authorization: `Bearer ${credential}` });

/** Sends this tab to the provider. */
export async function signIn(): Promise<void> {
  await attempt(async (provider) => {
    const { request, url } = await provider.begin(load("new-login") !== null);
    store("sign-in", { ...request, back: location.pathname + location.hash } satisfies Departure);
    location.assign(url);
  });
}

/** Sends another window to the provider; this tab, where the browser opens none. */
export async function signInAgain(): Promise<void> {
  const other = window.open("", "sori-sign-in", "popup,width=520,height=680"); // at once: later, browsers block it
  if (!other) {
    await signIn();
    return;
  }
  const sent = await attempt(async (provider) => {
    const { request, url } = await provider.begin(false);
    again = request;
    other.location.href = url;
  });
  if (!sent) {
    other.close();
  }
}

async function attempt(work: (provider: Provider) => Promise<void>): Promise<boolean> {
  trouble.value = null;
  try {
    if (provider) {
      await work(provider);
    }
    return true;
  } catch (thrown) {
    trouble.value = thrown instanceof Problem ? thrown : asProviderError(thrown).trouble;
    return false;
  }
}

async function complete(request: SignInRequest, address: URL): Promise<void> {
  await attempt(async (provider) => {
    const tokens = await provider.complete(request, address);
    const me = await whose(tokens.access);
    admit({ by: "provider", tokens, me, at: beginning(me) });
    store("new-login", null);
  });
}

/** Whether the provider has sent this window back. */
function comesBack(): boolean {
  const q = new URLSearchParams(location.search);
  return q.has("state") && (q.has("code") || q.has("error"));
}

async function comeBack(): Promise<"here" | "elsewhere"> {
  const address = new URL(location.href);
  const state = address.searchParams.get("state") ?? "";
  const departure = load<Departure>("sign-in");
  if (departure?.state === state) {
    store("sign-in", null);
    history.replaceState(null, "", departure.back);
    await complete(departure, address);
    return "here";
  }
  if (await handOver(address.href, state)) {
    return "elsewhere";
  }
  history.replaceState(null, "", at("/console"));
  trouble.value = "lost";
  return "here";
}

const handOverPatience = 3_000; // ms

/** Gives the provider's answer to the tab that has sent the request, and tells whether there is one. */
function handOver(url: string, state: string): Promise<boolean> {
  return new Promise((resolve) => {
    tabs.addEventListener("message", (m: MessageEvent<Message>) => {
      if (m.data.kind === "taken" && m.data.state === state) {
        resolve(true);
      }
    });
    tabs.postMessage({ kind: "answer", url } satisfies Message);
    setTimeout(() => resolve(false), handOverPatience);
  });
}

async function receive(message: Message): Promise<void> {
  if (message.kind === "signed-out" && session.peek() !== null && message.owner === owner()) {
    forgetUser();
  }
  if (message.kind === "answer" && again !== null) {
    const address = new URL(message.url);
    const request = again;
    if (address.searchParams.get("state") === request.state) {
      again = null;
      tabs.postMessage({ kind: "taken", state: request.state } satisfies Message);
      await complete(request, address);
    }
  }
}

/** Signs in with an API key. Throws the server's problem if it does not accept the key. */
export async function signInWithKey(key: string): Promise<void> {
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new Problem(401, "invalid-token"); // fetch would fail as if the server could not be reached
  }
  const me = await whose(key);
  trouble.value = null;
  admit({ by: "key", key, me, at: beginning(me) });
}

/**
 * Signs out in every tab of the user, also in those that were left or put to sleep, and at the
 * provider where it has an address for that. The browser forgets the user's recordings.
 */
export async function signOut(): Promise<void> {
  const s = session.peek();
  noteSignOut(owner());
  tabs.postMessage({ kind: "signed-out", owner: owner() } satisfies Message);
  await abandon();
  await forgetAll();
  leave();
  const url = s?.by === "provider" && provider ? await provider.end(s.tokens).catch(() => undefined) : undefined;
  if (url !== undefined) {
    location.assign(url);
    return;
  }
  store("new-login", true); // else the provider would sign the same user in without a question
  location.hash = "";
  location.reload(); // nothing of the user stays in memory
}
