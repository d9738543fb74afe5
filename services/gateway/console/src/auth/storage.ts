// What is kept of a sign-in: in the sessionStorage, which only this tab reads, and which
// the browser empties when the tab is closed. Of a sign-out, its time: in the localStorage.

type Name = "session" | "sign-in" | "new-login";

/** Returns what was stored under a name; null where there is nothing that can be read. */
export function load<T>(name: Name): T | null {
  try {
    return JSON.parse(sessionStorage.getItem(`sori.${name}`) ?? "null") as T | null;
  } catch {
    return null;
  }
}

/** Stores a value under a name; null removes what is there. */
export function store(name: Name, value: unknown): void {
  try {
    if (value === null) {
      sessionStorage.removeItem(`sori.${name}`);
    } else {
      sessionStorage.setItem(`sori.${name}`, JSON.stringify(value));
    }
  } catch {
    // a browser that keeps nothing: a session lasts as long as the page
  }
}

const endsKey = "sori.signed-out"; // in the localStorage, for tabs that are not there to be told

/** When a user has signed out last in this browser, in ms; 0 for never. */
export function signedOutAt(owner: string): number {
  const at = ends()[owner];
  return typeof at === "number" ? at : 0;
}

/** Stores that a user signs out: after the beginning of every session, also if the clock was set back meanwhile. */
export function noteSignOut(owner: string): void {
  try {
    localStorage.setItem(endsKey, JSON.stringify({ ...ends(), [owner]: Math.max(Date.now(), signedOutAt(owner) + 2) }));
  } catch {
    // a browser that keeps nothing keeps no session either
  }
}

function ends(): Record<string, unknown> {
  try {
    return Object(JSON.parse(localStorage.getItem(endsKey) ?? "{}")) as Record<string, unknown>;
  } catch {
    return {};
  }
}
