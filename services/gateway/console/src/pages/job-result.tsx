import { useMemo } from "preact/hooks";
import { tokens } from "../api/client";
import type { Frame } from "../api/types";
import { words } from "../locale";
import { Facts } from "../result/facts";
import { Charts } from "../result/charts";
import { Downloads, Raw } from "../result/raw";
import { Scores } from "../result/scores";
import { referenceOf } from "../result/curves";
import { analysisOf } from "../result/read";
import { useLoaded } from "../ui/hooks";
import { AudioDownload, AudioPlayer, useJobAudio } from "./job-audio";

/** A result: its figures, its charts with the player of the recording, and the JSON as it was sent. */
export function JobResult({ id, name, token, frame }: { id: string; name: string; token: string | null; frame: Frame }) {
  const t = words.value;
  const { result: sent, warnings: corrections } = frame;
  const result = useMemo(() => analysisOf(sent, corrections), [sent]);
  const audio = useJobAudio(id, result.duration).value;
  const player = audio === "none" || audio === null ? null : audio.player;
  const line = useLoaded(async (signal) => (token === null ? undefined : tokens.get(token, signal)), [token]).value.value;
  const reference = useMemo(() => referenceOf(line?.pitch), [line]);
  return (
    <>
      <section aria-label={t.result.title}><Scores result={result} token={line} /></section>
      <section class="card" aria-labelledby="pictures">
        <h2 id="pictures" class="unseen">{t.result.pictures}</h2>
        <AudioPlayer audio={audio} />
        <Charts result={result} reference={reference} player={player} />
      </section>
      <Facts result={result} />
      <Downloads result={result} sent={sent} name={name}><AudioDownload audio={audio} /></Downloads>
      <Raw sent={sent} />
    </>
  );
}
