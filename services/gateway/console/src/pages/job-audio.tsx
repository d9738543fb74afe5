import type { Signal } from "@preact/signals";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { hasStoredAudio } from "../api/client";
import { audioUrl, downloadUrl, dropTicket } from "../api/links";
import { asProblem } from "../api/problem";
import { Player } from "../audio/player";
import { ofJob } from "../audio/recordings";
import { language, words } from "../locale";
import { adviceFor } from "../locale/errors";
import { useLoaded } from "../ui/hooks";
import { Icon } from "../ui/icons";
import { PlayerBar } from "../ui/player";
import { say } from "../ui/toast";

/** The recording of a job: what plays it and where it is downloaded. */
export interface JobAudio {
  player: Player;
  url: string; // for the download
  name: string; // empty where the server knows it
  renewed?: () => Promise<string>; // the URL for a download now: the server's may have expired
}

/** Takes what this browser has kept, else what the server has stored; "none" where neither has it. Its length may be known. */
export function useJobAudio(job: string, seconds?: number): Signal<JobAudio | "none" | null> {
  const audio = useSignal<JobAudio | "none" | null>(null);
  const found = useLoaded(
    async (signal) => {
      const kept = await ofJob(job);
      const stored = !kept && (await hasStoredAudio(job, signal));
      return { kept, stored: stored ? { source: await audioUrl(job), download: await downloadUrl(job) } : null };
    },
    [job],
  );
  const value = found.value.value;
  useEffect(() => {
    if (!value) {
      audio.value = null;
      return;
    }
    const { kept, stored } = value;
    const blob = kept ? URL.createObjectURL(kept.audio) : "";
    if (kept) {
      audio.value = { player: new Player(blob, undefined, seconds), url: blob, name: kept.name };
    } else if (stored) {
      audio.value = { player: new Player(stored.source, () => renewedUrl(job), seconds), url: stored.download, name: "", renewed: () => downloadUrl(job) };
    } else {
      audio.value = "none";
    }
    const made = audio.value;
    return () => {
      if (made !== "none") {
        made.player.close();
      }
      URL.revokeObjectURL(blob);
    };
  }, [value]);
  return audio;
}

/** The URL of a job's audio where the one before does not play any more. */
function renewedUrl(job: string): Promise<string> {
  dropTicket(job);
  return audioUrl(job);
}

/** Saves what a URL has, or tells why there is none. */
async function save(url: Promise<string>): Promise<void> {
  const link = document.createElement("a");
  try {
    link.href = await url;
  } catch (thrown) {
    say(adviceFor(asProblem(thrown), language.value));
    return;
  }
  link.download = "";
  link.click();
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
  const { url, name, renewed } = audio;
  return (
    <a class="plain" href={url} download={name} onClick={(e) => renewed && (e.preventDefault(), void save(renewed()))}>
      <Icon name="download" />{words.value.result.downloadAudio}
    </a>
  );
}

/** The recording of a job that has no result: it can be heard all the same. */
export function RecordingCard({ id }: { id: string }) {
  const t = words.value.result;
  const audio = useJobAudio(id).value;
  if (audio === "none") {
    return null; // a job may be canceled before its recording is stored
  }
  return (
    <section class="card recorded" aria-label={t.details}>
      <h2>{t.details}</h2>
      <AudioPlayer audio={audio} />
      <div class="row"><AudioDownload audio={audio} /></div>
    </section>
  );
}
