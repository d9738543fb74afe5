const stallPatience = 90_000; // ms without any progress, after which a connection counts as broken

/** What a try tells while it is watched. */
export interface Watch {
  moves: () => void; // there is progress
  rests: () => void; // no progress is awaited from now on
  end: () => void; // the try is over
  readonly ended: boolean;
}

/**
 * Watches one try to send: broken is called when its signal is aborted, when the browser is offline,
 * and when there is no progress for long. Otherwise a connection that is dead would hang for a
 * quarter of an hour.
 */
export function watch(signal: AbortSignal, broken: () => void): Watch {
  const over = new AbortController();
  let stall: ReturnType<typeof setTimeout> | undefined;
  signal.addEventListener("abort", broken, { signal: over.signal });
  addEventListener("offline", broken, { signal: over.signal });
  const rests = () => clearTimeout(stall);
  return {
    moves: () => {
      rests();
      stall = over.signal.aborted ? undefined : setTimeout(broken, stallPatience);
    },
    rests,
    end: () => (rests(), over.abort()),
    get ended() {
      return over.signal.aborted;
    },
  };
}
