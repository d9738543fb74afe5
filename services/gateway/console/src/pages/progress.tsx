import type { ComponentChildren } from "preact";
import { ended, type Frame } from "../api/types";
import { type Bar, barOf, stages } from "../live/bar";
import type { Link } from "../live/state";
import { discard, type Upload } from "../live/upload";
import { language, words } from "../locale";
import { adviceFor } from "../locale/errors";
import { bytes, isIn, secondsUntil, span, timeOfDay } from "../locale/format";
import { go } from "../route";
import { Failure } from "../ui/failure";
import { useNow, useTitle } from "../ui/hooks";

interface MeterProps {
  bar: Bar;
  state: string;
  text: string;
  children?: ComponentChildren;
}

/** The one bar: from the first byte that is sent to the result. */
function Meter({ bar, state, text, children }: MeterProps) {
  const t = words.value.job;
  const now = stages.indexOf(bar.stage);
  return (
    <section class={`progress ${state}`} aria-label={t.progress}>
      <p class="percent" aria-hidden="true"><span class="figure">{bar.percent}</span><span class="of">%</span></p>
      <div class="says">
        <p class="message" role="status" aria-live="polite">{text}</p>
        {children}
      </div>
      <div class="bar" role="progressbar" aria-label={t.progress} aria-valuemin={0} aria-valuemax={100} aria-valuenow={bar.percent} aria-valuetext={`${bar.percent}%, ${text}`}>
        <i style={{ "--done": bar.percent / 100 }} />
      </div>
      <ol class="stages" aria-hidden="true">
        {stages.map((stage, i) => (
          <li key={stage} class={i < now || bar.stage === "done" ? "past" : i === now ? "now" : ""}>{t.stages[stage]}</li>
        ))}
      </ol>
    </section>
  );
}

/** What is done with a job now, in the console's language, whatever the stream speaks. */
function messageOf({ status, stage: at }: Frame, { stage }: Bar): string {
  const t = words.value.job;
  if (status === "processing" && at === "fetching") {
    return t.fetching;
  }
  return status === "processing" ? t.messages[stage] : t.messages[status];
}

/** A job's progress, by what the server said last. */
export function Progress({ frame, link }: { frame: Frame; link: Link }) {
  const t = words.value.job;
  const running = !ended(frame.status);
  const until = running ? frame.next_attempt_at : undefined;
  const waiting = running && frame.stage === "waiting";
  const bar = barOf(null, frame);
  const text = until ? t.waiting(timeOfDay(until, language.value)) : waiting ? (frame.waiting_code === "same-recording-analysed" ? t.shared : t.queued) : messageOf(frame, bar);
  return (
    <>
      <Meter bar={bar} state={waiting ? "waiting" : frame.status} text={text}>
        {until && <Countdown to={until} />}
        {running && !until && frame.analysis_message && isIn(language.value, frame.analysis_message) && <p class="hint">{frame.analysis_message}</p>}
      </Meter>
      {running && (link === "broken" || link === "lost") && <p class="note" role="status">{t.broken}</p>}
    </>
  );
}

/** The time until the next try, for eyes: a screen reader was told the moment. */
function Countdown({ to }: { to: string }) {
  const t = words.value.job;
  const left = secondsUntil(to, useNow(true));
  return <p class="hint" aria-hidden="true">{left > 0 ? t.waitingIn(span(left, language.value)) : t.waitingNow}</p>;
}

/** An upload on its way, or what has become of it. */
export function UploadProgress({ upload }: { upload: Upload | undefined }) {
  const t = words.value.job;
  const { bytes: sent, total } = upload?.sent.value ?? { bytes: 0, total: 0 };
  useTitle(upload?.recording.name ?? t.uploading);
  if (!upload) {
    return (
      <section class="empty">
        <p>{t.lostUpload}</p>
        <a class="button" href="#/">{words.value.actions.again}</a>
      </section>
    );
  }
  if (upload.canceled.value) {
    return (
      <section class="empty">
        <p>{t.canceledUpload}</p>
        <a class="button" href="#/">{words.value.actions.again}</a>
      </section>
    );
  }
  const problem = upload.problem.value;
  const paused = upload.paused.value;
  const leave = () => {
    void discard(upload.recording.key);
    go({ at: "new", token: String(upload.recording.token) });
  };
  return (
    <>
      <div class="head job"><h1>{upload.recording.name}</h1></div>
      <Meter bar={barOf(upload.sent.value, null)} state={problem ? "failed" : "processing"} text={problem ? t.notUploaded : t.uploading}>
        {paused && <p class="hint" role="status">{paused.code === "offline" ? t.broke : adviceFor(paused, language.value)} {t.sentAgain}</p>}
        {total > 0 && !paused && <p class="hint">{t.sent(bytes(sent, language.value), bytes(total, language.value))}</p>}
      </Meter>
      <Failure of={problem}>
        {problem && !problem.refusal && <button type="button" class="button" onClick={() => upload.again()}>{t.resend}</button>}
        {problem?.refusal && <button type="button" class="button" onClick={leave}>{words.value.audio.replace}</button>}
      </Failure>
      {!problem?.refusal && (
        <div class="row end">
          <button type="button" class="plain" onClick={leave}>{t.cancelUpload}</button>
        </div>
      )}
    </>
  );
}
