import { useSignal } from "@preact/signals";
import { jobs } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import { ended, type Frame } from "../api/types";
import { forgetJob } from "../audio/recordings";
import { words } from "../locale";
import { go, lastList } from "../route";
import { Confirm } from "../ui/confirm";
import { Failure } from "../ui/failure";
import { say } from "../ui/toast";

/** What can be asked of a job as it is. */
export function JobActions({ id, frame, stored, renew }: { id: string; frame: Frame; stored: boolean; renew: () => void }) {
  const t = words.value;
  const asking = useSignal(false);
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const run = async (work: () => Promise<unknown>, after: () => void) => {
    busy.value = true;
    problem.value = null;
    try {
      await work();
      after();
    } catch (thrown) {
      problem.value = asProblem(thrown);
      if (problem.value.status === 409) {
        renew(); // the job is not as it was shown
      }
    } finally {
      busy.value = false;
    }
  };
  const remove = async () => {
    await jobs.remove(id);
    await forgetJob(id); // what is said to be erased is also erased here
  };
  const removed = () => {
    say(t.job.removed);
    go(lastList());
  };
  return (
    <div class="actions">
      <div class="row">
        {!ended(frame.status) && <button type="button" class="plain" disabled={busy.value} onClick={() => run(() => jobs.cancel(id), () => undefined)}>{t.actions.cancel}</button>}
        {frame.status === "failed" && frame.error?.retryable && stored && <button type="button" class="button" disabled={busy.value} onClick={() => run(() => jobs.retry(id), renew)}>{t.actions.retry}</button>}
        {ended(frame.status) && <button type="button" class="plain danger" disabled={busy.value} onClick={() => (asking.value = true)}>{t.actions.remove}</button>}
      </div>
      <Failure of={problem.value} />
      {asking.value && (
        <Confirm
          title={t.job.removeTitle} text={t.job.removeText} action={t.actions.remove}
          done={(yes) => ((asking.value = false), yes && void run(remove, removed))}
        />
      )}
    </div>
  );
}
