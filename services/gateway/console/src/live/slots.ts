// A browser opens at most six HTTP/1.1 connections to an origin, for all of its
// tabs together, and a stream keeps one for as long as it is open. The console
// therefore opens at most three streams, and a tab without one polls its job.
//
// Sharing streams among tabs would not bound them, since every job has its own.
// Web Locks count them over all tabs, and free the slot of a tab that crashed.
// Pages without TLS have no Web Locks: there only hidden tabs give up their stream.

const slots = 3;

/** Takes a slot for a stream and returns what frees it; undefined where none is free. */
export async function takeSlot(): Promise<(() => void) | undefined> {
  const locks = navigator.locks as LockManager | undefined;
  if (!locks) {
    return () => undefined;
  }
  for (let n = 0; n < slots; n++) {
    const free = await tryLock(locks, `sori.stream.${n}`);
    if (free) {
      return free;
    }
  }
  return undefined;
}

function tryLock(locks: LockManager, name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve) => {
    void locks.request(name, { ifAvailable: true }, (lock) => (lock ? new Promise<void>((free) => resolve(free)) : resolve(undefined)));
  });
}
