import type { ComponentChildren } from "preact";
import { ended, type Fetch, type Frame } from "../api/types";
import { given } from "../audio/draft";
import { type Bar, barOf, stages } from "../live/bar";
import type { Link } from "../live/state";
import { discard, type Upload } from "../live/upload";
import { language, words } from "../locale";
import { adviceFor } from "../locale/errors";
import { bytes, isIn, isolated, secondsUntil, span, timeOfDay } from "../locale/format";
import { go } from "../route";
import { Changing } from "../ui/changing";
import { Failure } from "../ui/failure";
import { useNow, useTitle } from "../ui/hooks";
import { Icon } from "../ui/icons";

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
      <p class="percent" aria-hidden="true"><span class="figure"><Changing text={String(bar.percent)} /></span><span class="of">%</span></p>
      <div class="says">
        <p class="message" role="status" aria-live="polite"><Changing text={text} /></p>
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
  if (status === "processing" && (at === "fetching" || at === "refused")) {
    return t[at];
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
        {running && frame.stage === "fetching" && frame.fetch && <p class="hint"><Changing text={fetchedOf(frame.fetch)} /></p>}
        {running && !until && frame.analysis_message && isIn(language.value, frame.analysis_message) && <p class="hint"><Changing text={frame.analysis_message} /></p>}
      </Meter>
      {running && (link === "broken" || link === "lost") && <p class="note" role="status">{t.broken}</p>}
    </>
  );
}

/** How much of a recording the server has fetched, and whether it had to begin again. */
function fetchedOf({ bytes: got, size, try: n }: Fetch): string {
  const t = words.value.job;
  const much = size === undefined ? t.fetched(bytes(got, language.value)) : t.fetchedOf(bytes(got, language.value), bytes(size, language.value));
  return n > 1 ? `${much} · ${t.fetchTry(String(n))}` : much;
}

/** The time until the next try, for eyes: a screen reader was told the moment. */
function Countdown({ to }: { to: string }) {
  const t = words.value.job;
  const left = secondsUntil(to, useNow(true));
  return <p class="hint" aria-hidden="true"><Changing text={left > 0 ? t.waitingIn(span(left, language.value)) : t.waitingNow} /></p>;
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
  const leave = () => {
    void discard(upload.recording.key);
    go({ at: "new", token: String(upload.recording.token) });
  };
  const { audio, name, recorded } = upload.recording;
  const reuse = () => {
    if (audio && given.value === null) { // else it stays in the list of unfinished uploads
      given.value = { name, audio, recorded: true };
      void discard(upload.recording.key);
    }
    go({ at: "new", token: String(upload.recording.token) });
  };
  return (
    <>
      <div class="head job"><h1 title={upload.recording.name}><bdi>{upload.recording.name}</bdi></h1></div>
      <Meter bar={barOf(upload.sent.value, null)} {...appearance(upload)}>
        <Hints upload={upload} />
        {total > 0 && !problem && <p class="hint"><Changing text={t.sent(bytes(sent, language.value), bytes(total, language.value))} /></p>}
      </Meter>
      {upload.file.value !== "here" && <ChooseAgain upload={upload} />}
      <Failure of={problem}>
        {problem && !problem.refusal && <button type="button" class="button" onClick={() => upload.again()}>{upload.recording.inParts ? t.resume : t.resend}</button>}
        {problem?.refusal && recorded && <button type="button" class="button" onClick={reuse}>{t.reuse}</button>}
        {problem?.refusal && !recorded && <button type="button" class="button" onClick={leave}>{words.value.audio.replace}</button>}
      </Failure>
      {!problem?.refusal && (
        <div class="row end">
          {!problem && <PauseButton upload={upload} />}
          <button type="button" class="plain" onClick={leave}>{t.cancelUpload}</button>
        </div>
      )}
    </>
  );
}

/** What the meter says of an upload. */
function appearance(upload: Upload): { state: string; text: string } {
  const t = words.value.job;
  if (upload.problem.value) {
    return { state: "failed", text: t.notUploaded };
  }
  if (upload.elsewhere.value) {
    return { state: "waiting", text: t.elsewhere };
  }
  if (upload.file.value !== "here") {
    return { state: "waiting", text: t.fileMissing };
  }
  return upload.paused.value ? { state: "waiting", text: t.paused } : { state: upload.broken.value ? "waiting" : "processing", text: t.uploading };
}

/** Why an upload does not go on, and what makes it. */
function Hints({ upload }: { upload: Upload }) {
  const t = words.value.job;
  const { recording, broken } = upload;
  const reason = broken.value && (broken.value.code === "offline" ? t.broke : adviceFor(broken.value, language.value));
  return (
    <>
      {upload.elsewhere.value && <p class="hint">{t.elsewhereHint}</p>}
      {upload.file.value !== "here" && <p class="hint">{(recording.inParts ? t.fileMissingHint : t.fileMissingForm)(isolated(recording.name), bytes(recording.size, language.value))}</p>}
      {upload.paused.value && !upload.elsewhere.value && <p class="hint">{t.pausedHint}</p>}
      {reason && <p class="hint" role="status">{reason} {recording.inParts ? t.goesOn : t.sentAgain}</p>}
      {upload.anew.value && <p class="hint" role="status">{t.anew}</p>}
    </>
  );
}

/** Stops an upload in parts, and has it go on. It stays where it is, so that the focus does. */
function PauseButton({ upload }: { upload: Upload }) {
  const t = words.value.job;
  const { bytes: sent, total } = upload.sent.value;
  const idle = upload.elsewhere.value || upload.file.value !== "here";
  if (!upload.recording.inParts || idle || (sent === total && !upload.paused.value)) {
    return null;
  }
  return (
    <button type="button" class="plain" onClick={() => (upload.paused.value ? upload.resume() : upload.pause())}>
      <Icon name={upload.paused.value ? "play" : "pause"} solid={upload.paused.value} /><Changing text={upload.paused.value ? t.resume : t.pause} />
    </button>
  );
}

/** Asks for the file of an upload that the browser has not kept. */
function ChooseAgain({ upload }: { upload: Upload }) {
  const t = words.value.job;
  const choose = (input: HTMLInputElement) => {
    const file = input.files?.[0];
    input.value = "";
    if (file) {
      void upload.supply(file);
    }
  };
  return (
    <div class="row">
      <label class="plain">
        {words.value.audio.choose}
        <input type="file" class="unseen" onChange={(e) => choose(e.currentTarget)} />
      </label>
      <p class="error" role="alert">{upload.file.value === "another" && t.fileAnother(isolated(upload.recording.name))}</p>
    </div>
  );
}
