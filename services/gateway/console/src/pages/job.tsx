import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { jobs, tokens } from "../api/client";
import { ended, type Frame, type JobDetail, type JobError } from "../api/types";
import { find, forgetJob, ofJob } from "../audio/recordings";
import { Follower } from "../live/follow";
import { begin, running, type Upload, upload as uploading } from "../live/upload";
import { language, words } from "../locale";
import { moment, span } from "../locale/format";
import { barOf } from "../live/bar";
import { allJobs, go, replaceRoute, href, lastList } from "../route";
import { Chip } from "../ui/chip";
import { Failure } from "../ui/failure";
import { useLoaded, useTitle } from "../ui/hooks";
import { Icon } from "../ui/icons";
import { JobActions } from "./job-actions";
import { RecordingCard } from "./job-audio";
import { JobResult } from "./job-result";
import { Progress, UploadProgress } from "./progress";

/**
 * A job from its first byte to its result. Its upload and itself are one page
 * with one bar: the address changes when the job has an id.
 */
export function JobPage({ upload: key, job }: { upload?: string; job?: string }) {
  const upload = useUpload(key);
  const id = job ?? upload.value?.job.value ?? null;
  useEffect(() => {
    if (key !== undefined && id !== null) {
      replaceRoute({ at: "job", id });
    }
  }, [key, id]);
  if (id !== null) {
    return <Job key={id} id={id} />;
  }
  return (
    <>
      <Back />
      {upload.value === null ? <p class="quiet" role="status">{words.value.busy}</p> : <UploadProgress upload={upload.value} />}
    </>
  );
}

/** The upload of a key, begun again from what the browser has kept; undefined where that is gone. */
function useUpload(key: string | undefined) {
  const found = useSignal<Upload | null | undefined>(null);
  useEffect(() => {
    if (key === undefined) {
      found.value = null; // the next upload on this page is another one
      return;
    }
    found.value = running(key) ?? null;
    if (found.value) {
      return;
    }
    void find(key).then((recording) => {
      if (recording?.job) {
        replaceRoute({ at: "job", id: recording.job });
      } else {
        found.value = recording && uploading(recording);
      }
    });
  }, [key]);
  return found;
}

function Job({ id }: { id: string }) {
  const t = words.value.job;
  const round = useSignal(0); // one more after each action that begins something new
  const follower = useFollower(id, round.value);
  const streamed = follower.value?.live.value.frame ?? null;
  const over = streamed !== null && ended(streamed.status);
  // Read again at the end: only then it tells when the job ended.
  const detail = useLoaded((signal) => jobs.get(id, signal), [id, round.value, language.value, over]);
  const known = detail.value.value;
  const seen: Frame | null = streamed ?? known ?? null;
  const problem = follower.value?.problem.value ?? (seen && !detail.value.problem?.missing ? null : detail.value.problem);
  const frame = problem?.missing ? null : seen; // an erased job shows nothing that was
  useEffect(() => {
    if (problem?.code === "job-erased") {
      void forgetJob(id); // it may have been deleted elsewhere
    }
  }, [problem?.code]);
  const name = useLoaded((signal) => nameOf(known, signal), [known?.job_id, known?.file_name]);
  const title = name.value.value || t.untitled(id.slice(0, 8));
  const took = known?.status === "completed" ? (Date.parse(known.updated_at) - Date.parse(known.created_at)) / 1000 : 0;
  const hasResult = frame !== null && frame.result !== null && frame.result !== undefined; // which may be 0 or ""
  useTitle(frame && !ended(frame.status) ? `${barOf(null, frame).percent}% ${title}` : title);
  return (
    <>
      <Back />
      <div class="head job">
        <div>
          <h1 title={title}><bdi>{title}</bdi></h1>
          <p class="meta">
            {frame && <Chip status={frame.status} />}
            {known && <a href={href({ at: "jobs", filter: { ...allJobs, token: known.token_id } })}>{t.token(`#${known.token_id}`)}</a>}
            {known && <time dateTime={known.created_at}>{moment(known.created_at, language.value)}</time>}
            {known && frame?.status === "completed" && took > 0 && <span>{t.took(span(took, language.value))}</span>}
          </p>
        </div>
        {frame && <JobActions id={id} frame={frame} stored={!known?.audio_deleted_at} renew={() => round.value++} />}
      </div>
      {problem && (
        <Failure of={problem}>
          <a class="plain" href={href(lastList())}>{words.value.actions.back}</a>
        </Failure>
      )}
      {frame && <Progress frame={frame} link={follower.value?.live.value.link ?? "opening"} />}
      {frame?.status === "failed" && <Failure of={errorOf(frame, known)} />}
      {frame?.status === "canceled" && (
        <section class="empty">
          <p>{t.canceledText}</p>
          <a class="button" href="#/">{words.value.actions.again}</a>
        </section>
      )}
      {frame && (frame.status === "failed" || frame.status === "canceled") && <RecordingCard id={id} />}
      {frame && known && <AudioRetention job={known} />}
      {hasResult && known?.cached && <Cached id={id} />}
      {hasResult && <JobResult id={id} name={name.value.value || id} token={known?.token_id ?? null} frame={frame} />}
    </>
  );
}

/** That nothing was analysed for this job, and a new analysis where the browser still has the recording. */
function Cached({ id }: { id: string }) {
  const t = words.value;
  const recording = useLoaded(() => ofJob(id), [id]).value.value;
  const anew = async ({ token, name, audio }: NonNullable<typeof recording>) =>
    go({ at: "upload", key: (await begin(token, name, audio, { fresh: true })).recording.key });
  return (
    <div class="row" role="note">
      <p class="hint">{t.job.cached}</p>
      {recording && <button type="button" class="plain" onClick={() => void anew(recording)}>{t.actions.anew}</button>}
    </div>
  );
}

/** Until when the server keeps the recording, or since when it does not; nothing where it is kept for ever. */
function AudioRetention({ job }: { job: JobDetail }) {
  const t = words.value.job;
  if (job.audio_deleted_at) {
    return <p class="hint" role="note">{t.audioDeleted(moment(job.audio_deleted_at, language.value))}</p>;
  }
  return job.audio_expires_at ? <p class="hint" role="note">{t.audioExpires(moment(job.audio_expires_at, language.value))}</p> : null;
}

/** Why a job failed: by its detail, which is asked for in the console's language, else by its frame. */
function errorOf(frame: Frame, known: JobDetail | undefined): JobError {
  const own = known?.status === "failed" ? known.error : undefined;
  return own ?? frame.error ?? { code: "analysis-failed", detail: "", retryable: false };
}

/** What a job is called: its file, as far as anybody remembers it, else its token. */
async function nameOf(job: JobDetail | undefined, signal: AbortSignal): Promise<string> {
  if (!job) {
    return "";
  }
  return job.file_name || (await ofJob(job.job_id))?.name || (await tokens.get(job.token_id, signal)).token_name;
}

/** Follows a job as long as its page is there. */
function useFollower(id: string, round: number) {
  const follower = useSignal<Follower | null>(null);
  useEffect(() => {
    const made = new Follower(id);
    follower.value = made;
    return () => made.close();
  }, [id, round]);
  return follower;
}

function Back() {
  return (
    <a class="back" href={href(lastList())}><Icon name="back" />{words.value.actions.back}</a>
  );
}
