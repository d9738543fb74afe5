import { computed, effect, signal } from "@preact/signals";
import type { Problem } from "../api/problem";
import { patience } from "../live/state";
import { asProviderError, type Provider, type ProviderConfig, type Tokens } from "./provider";
import { load, signedOutAt, store } from "./storage";

// Who uses the console, and the credential of every request.
//
// 1. Tokens are renewed a minute before they expire, and before a request that finds them
//    expired. A renewal is tried again while the provider is away.
// 2. A request whose credential the server refuses waits until tokens are renewed or the
//    user has signed in again, and is then repeated. The page stays as it is meanwhile.

/** The answer of GET /console/config.json. */
export interface SignInConfig {
  open: boolean; // nobody signs in
  api_keys: boolean;
  oidc: ProviderConfig | null;
}

/** The answer of GET /me: whose a credential is, and what it allows. */
export interface Me {
  owner: string;
  scopes: string[];
}

/** Who has signed in, and by what. */
export type Session = { me: Me; at?: number } & ({ by: "key"; key: string } | { by: "provider"; tokens: Tokens });

/** Why the user has to sign in again. */
export interface Expired {
  reason: "expired" | "away"; // away: the tokens cannot be renewed, since the provider cannot be reached
  detail: string; // of the server
}

export const config = signal<SignInConfig | null>(null);
export const session = signal<Session | null>(null);
export const expired = signal<Expired | null>(null);

/** Whether the pages may be shown: the user is known, or nobody needs to be. */
export const admitted = computed(() => config.value !== null && (config.value.open || session.value !== null));

/** What the user is called in the header. */
export const userName = computed(() => {
  const s = session.value;
  return s === null ? "" : s.by === "provider" ? s.tokens.name : s.me.owner;
});

/** Whether the user may change the lines; true where nobody signs in. */
export const mayChangeLines = computed(() => {
  const scopes = session.value?.me.scopes ?? ["admin"];
  return scopes.includes("catalogue:write") || scopes.includes("admin");
});

/** Whose recordings this browser keeps: those of others are neither shown nor sent. Empty where nobody signs in. */
export function owner(): string {
  return session.peek()?.me.owner ?? "";
}

let provider: Provider | null = null;

/** When a session begins, in ms: after the last sign-out of its user, also if the clock was set back meanwhile. */
export function beginning(me: Me): number {
  return Math.max(Date.now(), signedOutAt(me.owner) + 1);
}

/** Whether the user of a session has signed out after its beginning, in another tab. */
export function isOver(s: Session): boolean {
  return signedOutAt(s.me.owner) > (s.at ?? 0);
}

/** Takes up the session of this tab, and renews its tokens from now on. */
export function resume(by: Provider | null): void {
  provider = by;
  const kept = config.peek()?.open ? null : load<Session>("session");
  if (kept !== null && isOver(kept)) {
    store("session", null);
  } else {
    session.value ??= kept;
  }
  effect(() => scheduleRenewal(session.value));
}

/**
 * Signs a user in. Another user than before gets a new page: the old one shows what was another's, and its
 * requests, which wait, would send that.
 */
export function admit(next: Session): void {
  store("session", next);
  if (owner() !== "" && owner() !== next.me.owner) {
    location.reload();
    return;
  }
  session.value = next;
  expired.value = null;
}

/** Ends the session of this tab. */
export function leave(): void {
  store("session", null);
  session.value = null;
  expired.value = null;
}

/** The credential of the next request; empty where none is needed. */
export async function credential(): Promise<string> {
  const s = session.peek();
  if (s?.by === "provider" && s.tokens.expires > 0 && s.tokens.expires <= Date.now()) {
    await renew();
  }
  return current();
}

function current(): string {
  const s = session.peek();
  return s === null ? "" : s.by === "key" ? s.key : s.tokens.access;
}

/**
 * Waits until there is another credential than the one that the server has refused.
 * Throws the problem if nobody is signed in, or the user signs out.
 */
export async function replaced(used: string, problem: Problem, abort?: AbortSignal | null): Promise<void> {
  if (used !== "" && current() === used) {
    const renewal = await renew();
    if (current() === used) {
      expired.value = { reason: renewal === "away" ? "away" : "expired", detail: problem.detail };
      if (renewal === "away") {
        renewSoon(0); // nothing else would, where the provider does not tell when tokens expire
      }
      await changed(used, abort);
    }
  }
  if (used === "" || current() === "") {
    throw problem;
  }
}

/** Waits until the credential is another one. */
async function changed(used: string, abort?: AbortSignal | null): Promise<void> {
  abort?.throwIfAborted(); // while tokens were renewed
  let stop = () => {};
  try {
    await new Promise<void>((resolve, reject) => {
      stop = session.subscribe(() => current() !== used && resolve());
      abort?.addEventListener("abort", () => reject(abort.reason as Error), { once: true });
    });
  } finally {
    stop();
  }
}

type Renewal = "renewed" | "away" | "refused";
let renewing: Promise<Renewal> | undefined;

/** Renews the tokens; once at a time, since a refresh token may be good for one use only. */
function renew(): Promise<Renewal> {
  renewing ??= renewOnce().finally(() => (renewing = undefined));
  return renewing;
}

async function renewOnce(): Promise<Renewal> {
  const s = session.peek();
  if (s?.by !== "provider" || s.tokens.refresh === "" || !provider) {
    return "refused";
  }
  try {
    const tokens = await provider.renew(s.tokens);
    if (session.peek() === s) { // the user has not signed out meanwhile
      admit({ ...s, tokens });
    }
    return "renewed";
  } catch (thrown) {
    return asProviderError(thrown).trouble === "away" ? "away" : "refused";
  }
}

const margin = 60_000; // ms
const longest = 24 * 60 * 60 * 1000; // ms that a timer is set to: browsers cannot count further than 24 days

let timer: ReturnType<typeof setTimeout> | undefined;

/** Has the tokens renewed a minute before they expire; tokens of less than two minutes at half of their time. */
function scheduleRenewal(s: Session | null): void {
  clearTimeout(timer);
  if (s?.by === "provider" && s.tokens.refresh !== "" && s.tokens.expires > 0) {
    const left = Math.max(0, s.tokens.expires - Date.now());
    timer = setTimeout(() => void renewLater(0), Math.min(longest, Math.max(left - margin, left / 2)));
  }
}

async function renewLater(tries: number): Promise<void> {
  const renewal = await renew();
  if (renewal === "away") {
    renewSoon(tries);
  } else if (renewal === "refused" && expired.peek()?.reason === "away") {
    expired.value = { reason: "expired", detail: "" };
  }
}

function renewSoon(tries: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void renewLater(tries + 1), patience(tries));
}
