import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Token } from "../api/types";
import { given } from "../audio/draft";
import { unfinished } from "../audio/recordings";
import { begin, discard, running } from "../live/upload";
import { words } from "../locale";
import { go, href } from "../route";
import { useLoaded, useTitle } from "../ui/hooks";
import { AudioStep } from "./audio-step";
import { TokenStep } from "./token-step";

const lastToken = "sori.token";

/** A token and a recording, then off they go. */
export function NewPage({ token }: { token: string }) {
  const t = words.value.record;
  const chosen = useSignal<Token | null>(null);
  const missing = useSignal<"" | "needToken" | "needAudio">("");
  useTitle(t.title);
  useEffect(() => {
    if (chosen.value) {
      localStorage.setItem(lastToken, String(chosen.value.id));
    }
    missing.value = "";
  }, [chosen.value, given.value]);

  const start = () => {
    if (!chosen.value || !given.value) {
      missing.value = chosen.value ? "needAudio" : "needToken";
      return;
    }
    const { name, audio } = given.value;
    const upload = begin(chosen.value.id, name, audio);
    given.value = null;
    go({ at: "upload", key: upload.recording.key });
  };

  return (
    <>
      <div class="head">
        <h1>{t.title}</h1>
        <p class="lead">{words.value.tagline}</p>
      </div>
      <Unfinished />
      <div class="steps">
        <section class="card" aria-labelledby="token-step">
          <h2 id="token-step"><span class="step">1</span>{t.tokenStep}</h2>
          <TokenStep wanted={token || (localStorage.getItem(lastToken) ?? "")} chosen={chosen} />
        </section>
        <div class="column">
          <section class="card" aria-labelledby="audio-step">
            <h2 id="audio-step"><span class="step">2</span>{t.audioStep}</h2>
            <AudioStep />
          </section>
          <div class="launch">
            <button type="button" class="button large" onClick={start}>{t.start}</button>
            <p class="error" role="alert">{missing.value && t[missing.value]}</p>
          </div>
        </div>
      </div>
    </>
  );
}

/** Uploads that go on, and those that a closed window cut short, which may be sent again. */
function Unfinished() {
  const t = words.value;
  const round = useSignal(0);
  const left = useLoaded(unfinished, [round.value]);
  return (
    <>
      {(left.value.value ?? []).map(({ key, name }) => (
        <div class="note row" key={key}>
          <p>{running(key) ? t.record.underway(name) : t.record.unfinished(name)}</p>
          <a class="plain" href={href({ at: "upload", key })}>{running(key) ? t.record.look : t.job.resend}</a>
          <button type="button" class="bare" onClick={() => void discard(key).then(() => round.value++)}>{t.audio.discard}</button>
        </div>
      ))}
    </>
  );
}
