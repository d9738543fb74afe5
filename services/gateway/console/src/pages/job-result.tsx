import { useMemo } from "preact/hooks";
import { tokens } from "../api/client";
import type { Analysis } from "../api/types";
import { words } from "../locale";
import { Facts } from "../result/facts";
import { Charts } from "../result/charts";
import { Downloads, Raw } from "../result/raw";
import { Scores } from "../result/scores";
import { referenceOf } from "../result/curves";
import { useLoaded } from "../ui/hooks";
import { AudioDownload, AudioPlayer, useJobAudio } from "./job-audio";

/** A result: its figures, its charts with the player of the recording, and the raw JSON. */
export function JobResult({ id, name, token, result }: { id: string; name: string; token: string | null; result: Analysis }) {
  const t = words.value;
  const audio = useJobAudio(id).value;
  const player = audio === "none" || audio === null ? null : audio.player;
  const line = useLoaded(async (signal) => (token === null ? undefined : tokens.get(token, signal)), [token]).value.value;
  const reference = useMemo(() => referenceOf(line?.pitch), [line]);
  return (
    <>
      <section aria-label={t.result.title}><Scores result={result} token={line} /></section>
      <section class="card" aria-label={t.result.pictures}>
        <AudioPlayer audio={audio} />
        <Charts result={result} reference={reference} player={player} />
      </section>
      <Facts result={result} />
      <Downloads result={result} name={name}><AudioDownload audio={audio} /></Downloads>
      <Raw result={result} />
    </>
  );
}
