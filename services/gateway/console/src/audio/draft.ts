import { signal } from "@preact/signals";
import { newKey } from "../api/key";
import { words } from "../locale";
import { stamp } from "../locale/format";
import { guard } from "./guard";
import type { Link } from "./link";
import { Take } from "./microphone";

/** A recording that was given as bytes. */
export interface GivenAudio {
  name: string;
  audio: Blob;
  recorded: boolean; // by the microphone: there is no other copy of it
}

/** A recording that the server is to fetch. */
export interface GivenLink extends Link {
  key: string; // the Idempotency-Key: pressing twice begins one job
}

export type Given = GivenAudio | GivenLink;

// What is about to be analysed. It outlives the page New, so that a look at
// another page loses nothing.
export const given = signal<Given | null>(null);
export const take = signal<Take | null>(null);

/** Has the recording at a link analysed next. */
export function giveLink(link: Link): void {
  given.value = { ...link, key: newKey() };
}

let asked = 0; // for the microphone, which the user may allow much later, or never

/** Begins to record from the microphone, unless it was asked for anew or forgone before the user has allowed it. */
export async function record(): Promise<void> {
  const round = ++asked;
  const started = await Take.start();
  if (round === asked) {
    take.value = started;
  } else {
    started.close();
  }
}

/** Does without the microphone, even if the user allows it now. */
export function forgo(): void {
  asked++;
}

/** Ends the recording, and keeps it to be uploaded. */
export async function stopRecording(): Promise<void> {
  const stopped = take.value;
  if (stopped) {
    take.value = null;
    const file = await stopped.stop(words.value.audio.fileName(stamp(new Date())));
    given.value = { name: file.name, audio: file, recorded: true };
  }
}

export function dropRecording(): void {
  take.value?.close();
  take.value = null;
}

/** Has the browser ask before it leaves a recording that nobody else has. */
export function guardRecording(): void {
  guard(() => take.value !== null || (given.value !== null && "audio" in given.value && given.value.recorded));
}
