// Web Locks hold over all tabs of the console, and are freed when a tab is closed or crashes.
// Pages without TLS (except on localhost) have none, and a browser that keeps nothing of a page
// refuses them: there, every lock is free.

const locks = () => navigator.locks as LockManager | undefined;

/** Takes a lock and returns what frees it; undefined where it is taken. */
export function tryLock(name: string): Promise<(() => void) | undefined> {
  const manager = locks();
  if (!manager) {
    return Promise.resolve(() => undefined);
  }
  return new Promise((resolve) => {
    const taken = (lock: Lock | null) => (lock ? new Promise<void>((free) => resolve(free)) : resolve(undefined));
    manager.request(name, { ifAvailable: true }, taken).catch(() => resolve(() => undefined));
  });
}

/** Waits for a lock, and returns what frees it. */
export function awaitLock(name: string): Promise<() => void> {
  return new Promise((resolve) => {
    void locks()?.request(name, () => new Promise<void>((free) => resolve(free)));
  });
}

/** The names of the locks that are taken. */
export async function takenLocks(): Promise<string[]> {
  const { held = [] } = (await locks()?.query().catch(() => undefined)) ?? {};
  return held.flatMap(({ name }) => name ?? []);
}
