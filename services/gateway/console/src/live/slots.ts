import { tryLock } from "./locks";

// A browser opens at most six HTTP/1.1 connections to an origin, for all of its
// tabs together, and a stream keeps one for as long as it is open. The console
// therefore opens at most three streams, and a tab without one polls its job.
//
// Sharing streams among tabs would not bound them, since every job has its own.
// Web Locks count them over all tabs. Where there are none, only hidden tabs give
// up their stream.

const slots = 3;

/** Takes a slot for a stream and returns what frees it; undefined where none is free. */
export async function takeSlot(): Promise<(() => void) | undefined> {
  for (let n = 0; n < slots; n++) {
    const free = await tryLock(`sori.stream.${n}`);
    if (free) {
      return free;
    }
  }
  return undefined;
}
