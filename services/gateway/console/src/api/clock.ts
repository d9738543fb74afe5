// The clock of a user's device may be wrong by hours. A time of the server is compared with the server's
// clock, which the header Date of its answers tells.

const tolerance = 5_000; // ms: Date has whole seconds, and an answer takes its time

let ahead = 0; // ms by which the server's clock is ahead of this device's

/** Learns the server's time from the header Date of an answer. */
export function learnTime(date: string | null): void {
  const difference = Date.parse(date ?? "") - Date.now();
  if (!Number.isNaN(difference)) {
    ahead = Math.abs(difference) > tolerance ? difference : 0;
  }
}

/** By how much the server's clock is ahead of this device's, in ms; negative where it is behind. */
export function clockSkew(): number {
  return ahead;
}

/** The time by the server's clock, in ms. */
export function serverNow(): number {
  return Date.now() + ahead;
}
