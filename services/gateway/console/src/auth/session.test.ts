import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Problem } from "../api/problem";
import { type Provider, ProviderError, type Tokens } from "./provider";
import { admit, beginning, config, credential, expired, isOver, leave, mayChangeLines, owner, replaced, resume, userName } from "./session";
import { load, noteSignOut } from "./storage";

const me = { owner: "mina", scopes: ["jobs:read"] };
const refusal = new Problem(401, "invalid-token", "The token has expired.");

function tokens(access: string, changes: Partial<Tokens> = {}): Tokens {
  return { access, expires: 0, refresh: "", idToken: "", name: "Mina Kim", ...changes };
}

/** A provider that gives the tokens, or fails, in turn. */
function giving(...answers: (Tokens | ProviderError)[]): { asked: () => number } {
  let asked = 0;
  const renew = () => {
    const answer = answers[Math.min(asked++, answers.length - 1)];
    return answer instanceof ProviderError ? Promise.reject(answer) : Promise.resolve(answer);
  };
  resume({ renew } as unknown as Provider);
  return { asked: () => asked };
}

beforeEach(() => {
  leave();
  config.value = { open: false, api_keys: true, oidc: null };
});

describe("the credential of a request", () => {
  it("is empty while nobody has signed in", async () => {
    expect([await credential(), owner(), userName.value]).toEqual(["", "", ""]);
  });

  it("is an API key, or an access token", async () => {
    admit({ by: "key", key: "sori_a_b", me });
    expect([await credential(), owner(), userName.value]).toEqual(["sori_a_b", "mina", "mina"]);
    admit({ by: "provider", tokens: tokens("one"), me });
    expect([await credential(), owner(), userName.value]).toEqual(["one", "mina", "Mina Kim"]);
  });

  it("is renewed first if it has expired, once for all requests", async () => {
    const provider = giving(tokens("two", { refresh: "r2" }));
    admit({ by: "provider", tokens: tokens("one", { refresh: "r1", expires: 1 }), me });
    expect(await Promise.all([credential(), credential(), credential()])).toEqual(["two", "two", "two"]);
    expect(provider.asked()).toBe(1);
  });

  it("stays as it is while the provider is away", async () => {
    giving(new ProviderError("away"));
    admit({ by: "provider", tokens: tokens("one", { refresh: "r1", expires: 1 }), me });
    expect(await credential()).toBe("one");
    expect(expired.value).toBeNull();
  });
});

describe("a request whose credential is refused", () => {
  it("goes on with renewed tokens, without a question", async () => {
    giving(tokens("two"));
    admit({ by: "provider", tokens: tokens("one", { refresh: "r1" }), me });
    await replaced("one", refusal);
    expect([await credential(), expired.value]).toEqual(["two", null]);
  });

  it("goes on at once if the credential is another one meanwhile", async () => {
    admit({ by: "key", key: "two", me });
    await replaced("one", refusal);
    expect(expired.value).toBeNull();
  });

  it("waits until the user has signed in again", async () => {
    for (const [failure, reason] of [[new ProviderError("refused"), "expired"], [new ProviderError("away"), "away"]] as const) {
      giving(failure);
      admit({ by: "provider", tokens: tokens("one", { refresh: "r1" }), me });
      const done = vi.fn();
      const waiting = replaced("one", refusal).then(done);
      await vi.waitFor(() => expect(expired.value).toEqual({ reason, detail: refusal.detail }));
      expect(done).not.toHaveBeenCalled();
      admit({ by: "key", key: "another", me });
      await waiting;
      expect(expired.value).toBeNull();
    }
  });

  it("goes on by itself when the provider is back, and asks for a sign-in if that refuses", async () => {
    vi.useFakeTimers();
    for (const answers of [[tokens("two")], [new ProviderError("refused")]]) {
      giving(new ProviderError("away"), new ProviderError("away"), ...answers);
      admit({ by: "provider", tokens: tokens("one", { refresh: "r1" }), me });
      const done = vi.fn();
      void replaced("one", refusal).then(done, () => undefined);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(expired.value?.reason).toBe("away");
      await vi.advanceTimersByTimeAsync(10_000);
      const renewed = answers[0] instanceof ProviderError ? 0 : 1;
      expect([done.mock.calls.length, expired.value?.reason]).toEqual([renewed, renewed ? undefined : "expired"]);
      leave();
    }
    vi.useRealTimers();
  });

  it("fails if the user signs out, and where nobody had signed in", async () => {
    admit({ by: "key", key: "one", me });
    const waiting = replaced("one", refusal);
    await vi.waitFor(() => expect(expired.value).not.toBeNull());
    leave();
    await expect(waiting).rejects.toBe(refusal);
    await expect(replaced("", refusal)).rejects.toBe(refusal);
  });

  it("is given up with its page", async () => {
    admit({ by: "key", key: "one", me });
    const page = new AbortController();
    const waiting = replaced("one", refusal, page.signal);
    await vi.waitFor(() => expect(expired.value).not.toBeNull());
    page.abort();
    await expect(waiting).rejects.toBe(page.signal.reason);
  });

  it("is given up with its page while tokens are renewed, too", async () => {
    let fail = () => {};
    resume({ renew: () => new Promise((_, reject) => (fail = () => reject(new ProviderError("refused")))) } as unknown as Provider);
    admit({ by: "provider", tokens: tokens("one", { refresh: "r1" }), me });
    const page = new AbortController();
    const waiting = replaced("one", refusal, page.signal);
    page.abort();
    fail();
    await expect(waiting).rejects.toBe(page.signal.reason);
  });
});

describe("a user", () => {
  it("gets a new page after another one, whose requests are not sent any more", async () => {
    const [reload, sent] = [vi.fn(), vi.fn()];
    vi.stubGlobal("location", { reload });
    admit({ by: "key", key: "one", me });
    admit({ by: "key", key: "two", me });
    expect(reload).not.toHaveBeenCalled();
    void replaced("two", refusal).then(sent, () => undefined);
    await vi.waitFor(() => expect(expired.value).not.toBeNull());
    admit({ by: "key", key: "three", me: { owner: "jun", scopes: [] } });
    expect(reload).toHaveBeenCalledOnce();
    expect([await credential(), owner(), sent.mock.calls.length]).toEqual(["two", "mina", 0]);
  });

  it("may change the lines with the scope for that, as an admin, and where nobody signs in", () => {
    expect(mayChangeLines.value).toBe(true);
    const may = (...scopes: string[]) => (admit({ by: "key", key: "one", me: { owner: "mina", scopes } }), mayChangeLines.value);
    expect([may("catalogue:read"), may("jobs:read", "catalogue:write"), may("admin")]).toEqual([false, true, true]);
  });
});

describe("a session", () => {
  /** A storage of a browser. */
  function storage() {
    const kept = new Map<string, string>();
    return { getItem: (name: string) => kept.get(name) ?? null, setItem: (name: string, value: string) => void kept.set(name, value), removeItem: (name: string) => void kept.delete(name) };
  }
  beforeEach(() => {
    vi.stubGlobal("localStorage", storage());
    vi.stubGlobal("sessionStorage", storage());
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it("is over after its user has signed out in another tab, and not after another user has", () => {
    const session = { by: "key", key: "one", me, at: beginning(me) } as const;
    vi.advanceTimersByTime(1);
    noteSignOut("jun");
    expect(isOver(session)).toBe(false);
    noteSignOut("mina");
    expect(isOver(session)).toBe(true);
    sessionStorage.setItem("sori.session", JSON.stringify(session));
    resume(null);
    expect([owner(), load("session")]).toEqual(["", null]);
  });

  it("that begins after the sign-out is not over, whatever the clock says", () => {
    noteSignOut("mina");
    vi.setSystemTime(Date.now() - 5 * 3_600_000);
    const session = { by: "key", key: "one", me, at: beginning(me) } as const;
    sessionStorage.setItem("sori.session", JSON.stringify(session));
    resume(null);
    expect([isOver(session), owner()]).toEqual([false, "mina"]);
    noteSignOut("mina");
    expect(isOver(session)).toBe(true);
  });
});
