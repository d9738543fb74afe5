import { signal } from "@preact/signals";
import { asProblem, type Problem } from "./api/problem";
import { start } from "./auth/sign-in";
import { patience } from "./live/state";
import { watchRoute } from "./route";

/** How far the console has started: "elsewhere" is a window that has signed in for another one. */
export const started = signal<"starting" | "here" | "elsewhere">("starting");
export const startProblem = signal<Problem | null>(null);

/** Starts the console; again after growing pauses while the server cannot be reached, or fails. */
export async function begin(tries = 0): Promise<void> {
  try {
    const where = await start();
    startProblem.value = null;
    if (where === "elsewhere") {
      window.close();
    } else {
      watchRoute(); // after a sign-in has restored the address
    }
    started.value = where;
  } catch (thrown) {
    startProblem.value = asProblem(thrown);
    if (!startProblem.value.refusal) {
      setTimeout(() => void begin(tries + 1), patience(tries));
    }
  }
}
