import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { storedAudio, tokens } from "../api/client";
import type { Analysis } from "../api/types";
import { Player } from "../audio/player";
import { ofJob } from "../audio/recordings";
import { words } from "../locale";
import { Facts } from "../result/facts";
import { Pictures } from "../result/pictures";
import { Raw } from "../result/raw";
import { Scores } from "../result/scores";
import { referenceOf } from "../result/series";
import { useLoaded } from "../ui/hooks";
import { PlayerBar } from "../ui/player";

/** A result: its figures, its pictures with the recording to hear, all of it. */
export function JobResult({ id, token, result }: { id: string; token: string | null; result: Analysis }) {
  const t = words.value;
  const player = usePlayer(id);
  const reference = useLoaded(async (gone) => (token === null ? null : referenceOf((await tokens.get(token, gone)).pitch)), [token]);
  return (
    <>
      <section aria-label={t.result.title}><Scores result={result} /></section>
      <section class="card" aria-label={t.result.pictures}>
        {player.value === "none" && <p class="quiet">{t.player.unavailable}</p>}
        {player.value instanceof Player && <PlayerBar player={player.value} />}
        <Pictures result={result} reference={reference.value.value ?? null} player={player.value instanceof Player ? player.value : null} />
      </section>
      <Facts result={result} />
      <Raw result={result} />
    </>
  );
}

/** Plays what this browser has kept, else what the server has stored. */
function usePlayer(job: string) {
  const player = useSignal<Player | "none" | null>(null);
  useEffect(() => {
    let left = false;
    let url = "";
    const open = async () => {
      const kept = await ofJob(job);
      url = kept ? URL.createObjectURL(kept.audio) : "";
      const source = url || (await storedAudio(job));
      if (!left) {
        player.value = source === null ? "none" : new Player(source);
      }
    };
    void open();
    return () => {
      left = true;
      if (player.value instanceof Player) {
        player.value.close();
      }
      URL.revokeObjectURL(url);
    };
  }, [job]);
  return player;
}
