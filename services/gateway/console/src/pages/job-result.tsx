import { useMemo } from "preact/hooks";
import { tokens } from "../api/client";
import type { Analysis } from "../api/types";
import { words } from "../locale";
import { Facts } from "../result/facts";
import { Pictures } from "../result/pictures";
import { Downloads, Raw } from "../result/raw";
import { Scores } from "../result/scores";
import { referenceOf } from "../result/series";
import { useLoaded } from "../ui/hooks";
import { AudioDownload, AudioPlayer, useJobAudio } from "./job-audio";

/** A result: its figures, its pictures with the recording to hear, all of it. */
export function JobResult({ id, name, token, result }: { id: string; name: string; token: string | null; result: Analysis }) {
  const t = words.value;
  const audio = useJobAudio(id).value;
  const player = audio === "none" || audio === null ? null : audio.player;
  const line = useLoaded(async (gone) => (token === null ? undefined : tokens.get(token, gone)), [token]).value.value;
  const reference = useMemo(() => referenceOf(line?.pitch), [line]);
  return (
    <>
      <section aria-label={t.result.title}><Scores result={result} token={line} /></section>
      <section class="card" aria-label={t.result.pictures}>
        <AudioPlayer audio={audio} />
        <Pictures result={result} reference={reference} player={player} />
      </section>
      <Facts result={result} />
      <Downloads result={result} name={name}><AudioDownload audio={audio} /></Downloads>
      <Raw result={result} />
    </>
  );
}
