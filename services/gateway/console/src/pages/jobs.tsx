import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { JobFilter } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import { type Job, statuses } from "../api/types";
import { language, words } from "../locale";
import { clock, dayStart, moment } from "../locale/format";
import { allJobs, replaceRoute, href, type ListFilter } from "../route";
import { Chip } from "../ui/chip";
import { Failure } from "../ui/failure";
import { Field } from "../ui/field";
import { useTitle } from "../ui/hooks";
import { barOf } from "../live/bar";
import { readJobs } from "./job-pages";

const pageSize = 50;
const lively = 3_000; // ms between two looks while something is under way
const calm = 15_000;

/** What the way back to a list finds again: as many jobs as before, and the one that was opened. */
const left = { list: "", wanted: pageSize, job: "" };

/** All jobs, newest first, which change as one looks. */
export function JobsPage({ filter }: { filter: ListFilter }) {
  const t = words.value.list;
  const list = useJobs(filter);
  const { jobs: shown, problem, more } = list.state.value;
  const filtered = href({ at: "jobs", filter }) !== href({ at: "jobs", filter: allJobs });
  useTitle(t.title);
  useEffect(() => {
    if (shown !== null && left.job !== "") {
      document.querySelector<HTMLElement>(`tbody a[href="${href({ at: "job", id: left.job })}"]`)?.focus();
      left.job = "";
    }
  }, [shown !== null]);
  return (
    <>
      <div class="head"><h1>{t.title}</h1></div>
      <p class="unseen" role="status">{list.found.value !== null && (list.found.value > 0 ? t.shown(list.found.value) : filtered ? t.noMatch : t.empty)}</p>
      <Filters filter={filter} filtered={filtered} />
      {problem && (shown === null || problem.code !== "offline" ? <Failure of={problem} /> : <p class="note" role="status">{t.stale}</p>)}
      {shown && shown.length > 0 && <Table jobs={shown} />}
      {shown?.length === 0 && (
        <section class="empty">
          <h2>{filtered ? t.noMatch : t.empty}</h2>
          {filtered ? (
            <a class="plain" href={href({ at: "jobs", filter: allJobs })}>{t.clear}</a>
          ) : (
            <>
              <p>{t.emptyHint}</p>
              <a class="button" href="#/">{words.value.record.title}</a>
            </>
          )}
        </section>
      )}
      {shown === null && !problem && <p class="quiet" role="status">{words.value.busy}</p>}
      <div class="row center">{more && <button type="button" class="plain" onClick={() => void list.extend()}>{words.value.actions.more}</button>}</div>
    </>
  );
}

interface Listed {
  jobs: Job[] | null; // null before the first answer
  more: boolean;
  problem: Problem | null;
}

const unread: Listed = { jobs: null, more: false, problem: null };

/** The jobs that a filter chooses: the newest, as many as were asked for, read again while the page is seen. */
function useJobs(filter: ListFilter) {
  const state = useSignal<Listed>(unread);
  const wanted = useSignal(pageSize);
  const found = useSignal<number | null>(null); // how many jobs the last request of the user has found; later looks announce nothing
  const look = useRef(() => Promise.resolve());
  const key = href({ at: "jobs", filter });
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    let newest = 0; // of the looks: an earlier one that ends later changes nothing
    look.current = async () => {
      const round = ++newest;
      const late = () => abort.signal.aborted || round !== newest;
      clearTimeout(timer);
      if (!document.hidden) {
        await readJobs(asked(filter), wanted.peek(), abort.signal).then(
          (read) => {
            if (!late()) {
              state.value = { ...read, problem: null };
              found.value ??= read.jobs.length;
            }
          },
          (thrown: unknown) => late() || (state.value = { ...state.peek(), problem: asProblem(thrown) }),
        );
      }
      if (!late()) {
        timer = setTimeout(look.current, state.peek().jobs?.some((job) => job.status === "processing") ? lively : calm);
      }
    };
    const seen = () => document.hidden || void look.current();
    state.value = unread;
    found.value = null;
    wanted.value = left.list === key ? left.wanted : pageSize;
    Object.assign(left, { list: key, wanted: wanted.value });
    void look.current();
    document.addEventListener("visibilitychange", seen);
    addEventListener("online", seen);
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      removeEventListener("online", seen);
    };
  }, [key, language.value]);

  const extend = () => {
    left.wanted = wanted.value += pageSize;
    found.value = null;
    return look.current();
  };
  return { state, found, extend };
}

/** The filter as the server has it: times of the viewer's days. */
function asked(filter: ListFilter): JobFilter {
  return {
    status: filter.status,
    token_id: filter.token,
    created_after: dayStart(filter.from),
    created_before: dayStart(filter.to, 1),
  };
}

function Filters({ filter, filtered }: { filter: ListFilter; filtered: boolean }) {
  const t = words.value.list;
  const set = (change: Partial<ListFilter>) => replaceRoute({ at: "jobs", filter: { ...filter, ...change } });
  return (
    <form class="filters" role="search" aria-label={t.filters} onSubmit={(e) => e.preventDefault()}>
      <div class="segmented" role="group" aria-label={t.status}>
        {["", ...statuses].map((status) => (
          <button type="button" key={status} aria-pressed={filter.status === status} onClick={() => set({ status })}>
            {status === "" ? t.anyStatus : words.value.job.status[status as (typeof statuses)[number]]}
          </button>
        ))}
      </div>
      <Field label={t.token} value={filter.token} set={(token) => set({ token: token.replace(/\D/g, "") })} required inputMode="numeric" />
      <Field label={t.from} value={filter.from} set={(from) => set({ from })} required type="date" max="9999-12-31" />
      <Field label={t.to} value={filter.to} set={(to) => set({ to })} required type="date" max="9999-12-31" />
      {filtered && <a class="plain clear" href={href({ at: "jobs", filter: allJobs })}>{t.clear}</a>}
    </form>
  );
}

function Table({ jobs: shown }: { jobs: Job[] }) {
  const t = words.value.list;
  const l = language.value;
  return (
    <div class="card table">
      <table>
        <thead>
          <tr>
            <th scope="col">{t.columns.file}</th>
            <th scope="col">{t.columns.status}</th>
            <th scope="col">{t.columns.token}</th>
            <th scope="col" class="number">{t.columns.length}</th>
            <th scope="col" class="number">{t.columns.created}</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((job) => (
            <tr key={job.job_id}>
              <th scope="row"><a href={href({ at: "job", id: job.job_id })} onClick={() => (left.job = job.job_id)}><bdi>{job.file_name || words.value.job.untitled(job.job_id.slice(0, 8))}</bdi></a></th>
              <td class="state">
                <Chip status={job.status} />
                {job.status === "processing" && (
                  <span class="small">
                    <span class="bar thin" aria-hidden="true"><i style={{ "--done": barOf(null, job).percent / 100 }} /></span>
                    <span class="time">{job.stage === "waiting" ? t.away : `${barOf(null, job).percent}%`}</span>
                  </span>
                )}
              </td>
              <td class="token"><a href={href({ at: "jobs", filter: { ...allJobs, token: job.token_id } })} aria-label={words.value.job.token(job.token_id)}>#{job.token_id}</a></td>
              <td class="number length">{job.duration == null ? "–" : clock(job.duration)}</td>
              <td class="number created"><time dateTime={job.created_at}>{moment(job.created_at, l)}</time></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
