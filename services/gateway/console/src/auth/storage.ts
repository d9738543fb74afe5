// What is kept of a sign-in: in the sessionStorage, which only this tab reads, and which
// the browser empties when the tab is closed.

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
