import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { serverNow } from "../api/clock";
import { asProblem, type Problem } from "../api/problem";
import { patience } from "../live/state";

/** What a page asks the server for. */
export interface Loaded<T> {
  value: T | undefined;
  problem: Problem | null;
  busy: boolean;
}

/**
 * Loads when the keys change, and drops an answer that comes too late. Where the
 * server cannot be reached, or fails, it loads again after growing pauses, and as
 * soon as the browser is online, so that nothing stays unknown for good.
 */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, keys: unknown[]): Signal<Loaded<T>> {
  const state = useSignal<Loaded<T>>({ value: undefined, problem: null, busy: true });
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    let tries = 0;
    const attempt = async () => {
      clearTimeout(timer);
      state.value = { ...state.peek(), busy: true };
      try {
        const value = await load(abort.signal);
        if (!abort.signal.aborted) {
          state.value = { value, problem: null, busy: false };
        }
      } catch (thrown) {
        if (abort.signal.aborted) {
          return;
        }
        const problem = asProblem(thrown);
        state.value = { value: state.peek().value, problem, busy: false };
        if (!problem.refusal) {
          timer = setTimeout(attempt, patience(tries++));
        }
      }
    };
    const online = () => {
      const { problem, busy } = state.peek();
      if (problem && !problem.refusal && !busy) {
        void attempt();
      }
    };
    void attempt();
    addEventListener("online", online);
    return () => {
      abort.abort();
      clearTimeout(timer);
      removeEventListener("online", online);
    };
  }, keys);
  return state;
}

/** The time by the server's clock, anew every second while it is wanted. */
export function useNow(wanted: boolean): number {
  const now = useSignal(serverNow());
  useEffect(() => {
    if (!wanted) {
      return;
    }
    now.value = serverNow();
    const timer = setInterval(() => (now.value = serverNow()), 1000);
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
