import type { Signal } from "@preact/signals";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { downloadUrl, storedAudio } from "../api/client";
import { Player } from "../audio/player";
import { ofJob } from "../audio/recordings";
import { words } from "../locale";
import { useLoaded } from "../ui/hooks";
import { Icon } from "../ui/icons";
import { PlayerBar } from "../ui/player";

/** The recording of a job: what plays it and where it is downloaded. */
export interface JobAudio {
  player: Player;
  url: string;
  name: string; // empty where the server knows it
}

/** Takes what this browser has kept, else what the server has stored; "none" where neither has it. */
export function useJobAudio(job: string): Signal<JobAudio | "none" | null> {
  const audio = useSignal<JobAudio | "none" | null>(null);
  const found = useLoaded(
    async (signal) => {
      const kept = await ofJob(job);
      return { kept, stored: kept ? null : await storedAudio(job, signal) };
    },
    [job],
  );
  const value = found.value.value;
  useEffect(() => {
    if (!value) {
      audio.value = null;
      return;
    }
    const blob = value.kept ? URL.createObjectURL(value.kept.audio) : "";
    const source = blob || value.stored;
    const player = source === null ? null : new Player(source);
    audio.value = player ? { player, url: blob || downloadUrl(job), name: value.kept?.name ?? "" } : "none";
    return () => {
      player?.close();
      URL.revokeObjectURL(blob);
    };
  }, [value]);
  return audio;
}

/** Plays the recording of a job, or tells that it cannot be played. */
export function AudioPlayer({ audio }: { audio: JobAudio | "none" | null }) {
  if (audio === "none") {
    return <p class="quiet">{words.value.player.unavailable}</p>;
  }
  return audio && <PlayerBar player={audio.player} />;
}

export function AudioDownload({ audio }: { audio: JobAudio | "none" | null }) {
  if (audio === "none" || audio === null) {
    return null;
  }
  return <a class="plain" href={audio.url} download={audio.name}><Icon name="download" />{words.value.result.downloadAudio}</a>;
}

/** The recording of a job that has no result: it can be heard all the same. */
export function RecordingCard({ id }: { id: string }) {
  const t = words.value.result;
  const audio = useJobAudio(id).value;
  return (
    <section class="card recorded" aria-label={t.details}>
      <h2>{t.details}</h2>
      <AudioPlayer audio={audio} />
      <div class="row"><AudioDownload audio={audio} /></div>
    </section>
  );
}
