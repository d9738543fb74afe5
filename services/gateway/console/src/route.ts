import { effect, signal } from "@preact/signals";
import { statuses } from "./api/types";

// The place in the console is the URL's fragment, so that the server needs one
// path, and a reload or a link leads to the same place.

export interface ListFilter {
  status: string;
  token: string;
  from: string; // dates as inputs have them: 2026-01-31
  to: string;
}

export type Route =
  | { at: "new"; token: string }
  | { at: "upload"; key: string }
  | { at: "job"; id: string }
  | { at: "jobs"; filter: ListFilter }
  | { at: "nowhere" };

/** Reads a fragment, with or without its #. */
export function parse(fragment: string): Route {
  const [path = "", search = ""] = fragment.replace(/^#/, "").split("?", 2);
  const q = new URLSearchParams(search);
  const [, first = "", second = "", ...rest] = path.split("/");
  if (rest.length > 0) {
    return { at: "nowhere" };
  }
  if (first === "") {
    return { at: "new", token: q.get("token") ?? "" };
  }
  if (first === "uploads" && second !== "") {
    return { at: "upload", key: decoded(second) };
  }
  if (first === "jobs" && second !== "") {
    return { at: "job", id: decoded(second) };
  }
  if (first === "jobs") {
    // A value that the fields of the filter cannot show is left out.
    const get = (name: string, shown: (value: string) => boolean) => {
      const value = q.get(name) ?? "";
      return shown(value) ? value : "";
    };
    const status = get("status", (value) => statuses.some((known) => known === value));
    return { at: "jobs", filter: { status, token: get("token", () => true), from: get("from", isDate), to: get("to", isDate) } };
  }
  return { at: "nowhere" };
}

/** Reports whether an input of dates can have a value. */
function isDate(value: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(value) && !Number.isNaN(Date.parse(value));
}

/** What a fragment's part stands for; as it is where it is malformed. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The fragment of a place; parse takes it back. */
export function href(route: Route): string {
  switch (route.at) {
    case "new":
      return route.token ? `#/?token=${encodeURIComponent(route.token)}` : "#/";
    case "upload":
      return `#/uploads/${encodeURIComponent(route.key)}`;
    case "job":
      return `#/jobs/${encodeURIComponent(route.id)}`;
    case "jobs": {
      const q = String(new URLSearchParams(Object.entries(route.filter).filter(([, value]) => value !== ""))); // some phones' know no size
      return q === "" ? "#/jobs" : `#/jobs?${q}`;
    }
    case "nowhere":
      return "#/";
  }
}

export const allJobs: ListFilter = { status: "", token: "", from: "", to: "" };

export const route = signal<Route>({ at: "new", token: "" });

const lastListKey = "sori.list";

/** The list as it was last looked at in this tab: the way back leads there. */
export function lastList(): Route {
  try {
    const kept = parse(sessionStorage.getItem(lastListKey) ?? "");
    return kept.at === "jobs" ? kept : { at: "jobs", filter: allJobs };
  } catch {
    return { at: "jobs", filter: allJobs };
  }
}

/** Keeps route equal to the address bar, and the list's place for the way back. */
export function watchRoute(): void {
  const read = () => (route.value = parse(location.hash));
  effect(() => {
    if (route.value.at === "jobs") {
      try {
        sessionStorage.setItem(lastListKey, href(route.value));
      } catch {
        // a browser that keeps nothing: the way back leads to all jobs
      }
    }
  });
  addEventListener("hashchange", read);
  read();
}

export function go(to: Route): void {
  location.hash = href(to);
}

/** Goes to a route that replaces the current one in the history. */
export function replaceRoute(to: Route): void {
  history.replaceState(null, "", href(to));
  route.value = to;
}
