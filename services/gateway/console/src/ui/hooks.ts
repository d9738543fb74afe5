import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { asProblem, type Problem } from "../api/problem";

/** What a page asks the server for. */
export interface Loaded<T> {
  value: T | undefined;
  problem: Problem | null;
  busy: boolean;
}

/** Loads when the keys change, and drops an answer that comes too late. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, keys: unknown[]): Signal<Loaded<T>> {
  const state = useSignal<Loaded<T>>({ value: undefined, problem: null, busy: true });
  useEffect(() => {
    const gone = new AbortController();
    state.value = { ...state.peek(), busy: true };
    load(gone.signal).then(
      (value) => gone.signal.aborted || (state.value = { value, problem: null, busy: false }),
      (thrown: unknown) => gone.signal.aborted || (state.value = { value: state.peek().value, problem: asProblem(thrown), busy: false }),
    );
    return () => gone.abort();
  }, keys);
  return state;
}

/** The time, anew every second while it is wanted. */
export function useNow(wanted: boolean): number {
  const now = useSignal(Date.now());
  useEffect(() => {
    if (!wanted) {
      return;
    }
    now.value = Date.now();
    const timer = setInterval(() => (now.value = Date.now()), 1000);
    return () => clearInterval(timer);
  }, [wanted]);
  return now.value;
}

/** Names the page in the window's title. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === "" ? "Sori" : `${title} · Sori`;
  }, [title]);
}
