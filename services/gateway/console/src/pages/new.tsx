import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { analyze, limits as readLimits } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import type { Token } from "../api/types";
import { type Given, given } from "../audio/draft";
import { unfinished } from "../audio/recordings";
import { begin, discard, running, sending } from "../live/upload";
import { words } from "../locale";
import { isolated } from "../locale/format";
import { go, href, type Route } from "../route";
import { Changing } from "../ui/changing";
import { Failure } from "../ui/failure";
import { useLoaded, useTitle } from "../ui/hooks";
import { AudioStep, largest } from "./audio-step";
import { TokenStep } from "./token-step";

const lastToken = "sori.token";

function remembered(): string {
  try {
    return localStorage.getItem(lastToken) ?? "";
  } catch {
    return "";
  }
}

function remember(token: Token): void {
  try {
    localStorage.setItem(lastToken, String(token.id));
  } catch {
    // a browser that keeps nothing: the line is chosen anew each time
  }
}

/** A token and a recording, then off they go. */
export function NewPage({ token }: { token: string }) {
  const t = words.value.record;
  const chosen = useSignal<Token | null>(null);
  const missing = useSignal<"" | "needToken" | "needAudio">("");
  const limits = useLoaded(readLimits, []).value.value;
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const wanted = useMemo(() => token || remembered(), [token]); // by the address, which a link or Back may change
  useTitle(t.title);
  useEffect(() => {
    if (token !== "" && String(chosen.value?.id) !== token) {
      chosen.value = null;
    }
  }, [token]);
  useEffect(() => {
    if (chosen.value) {
      remember(chosen.value);
    }
    missing.value = "";
    problem.value = null;
  }, [chosen.value, given.value]);

  const start = async () => {
    if (!chosen.value || !given.value) {
      missing.value = chosen.value ? "needAudio" : "needToken";
      return;
    }
    busy.value = true;
    problem.value = null;
    try {
      go(await launch(chosen.value.id, given.value, largest(limits, "form")));
      given.value = null;
    } catch (thrown) {
      problem.value = asProblem(thrown);
    } finally {
      busy.value = false;
    }
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
          <TokenStep wanted={wanted} chosen={chosen} />
        </section>
        <div class="column">
          <section class="card" aria-labelledby="audio-step">
            <h2 id="audio-step"><span class="step">2</span>{t.audioStep}</h2>
            <AudioStep limits={limits} />
          </section>
          <div class="launch">
            <button type="button" class="button large" disabled={busy.value} onClick={() => void start()}>{t.start}</button>
            <p class="error" role="alert">{missing.value && t[missing.value]}</p>
            <Failure of={problem.value} />
          </div>
        </div>
      </div>
    </>
  );
}

/** Begins the analysis of what was given, and returns where it is shown. */
async function launch(token: number, of: Given, formBytes: number | undefined): Promise<Route> {
  if ("audio" in of) {
    const { recording } = await begin(token, of.name, of.audio, { recorded: of.recorded, ...(formBytes !== undefined && { formBytes }) });
    return { at: "upload", key: recording.key };
  }
  return { at: "job", id: (await analyze(token, of.url, of.key)).job_id };
}

/** Uploads that go on, and those that a closed window cut short, which may be continued. */
function Unfinished() {
  const t = words.value;
  const round = useSignal(0);
  const left = useLoaded(async () => ({ uploads: await unfinished(), sent: await sending() }), [round.value]);
  const { uploads = [], sent } = left.value.value ?? {};
  return (
    <>
      {uploads.filter(({ key }) => !running(key)?.job.value).map(({ key, name, inParts, paused }) => {
        const here = running(key);
        const halted = here ? here.paused.value : paused;
        const underway = here ? here.problem.value === null : sent?.has(key);
        const says = halted ? t.record.paused : underway ? t.record.underway : t.record.unfinished;
        return (
          <div class="note row" key={key}>
            <p><Changing text={says(isolated(name))} /></p>
            <a class="plain" href={href({ at: "upload", key })}>{halted || underway ? t.record.look : inParts ? t.job.resume : t.job.resend}</a>
            <button type="button" class="bare" onClick={() => void discard(key).then(() => round.value++)}>{t.audio.discard}</button>
          </div>
        );
      })}
    </>
  );
}
