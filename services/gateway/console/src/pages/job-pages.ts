import type { Job, JobPage } from "../api/types";

/**
 * Puts the newest page over what is shown already: jobs of its range are as it
 * says, and gone where it does not name them; older ones stay.
 */
export function merge(newest: JobPage, shown: Job[]): Job[] {
  const last = newest.jobs[newest.jobs.length - 1];
  if (!last || newest.next_cursor === null) {
    return newest.jobs;
  }
  const named = new Set(newest.jobs.map((job) => job.job_id));
  return [...newest.jobs, ...shown.filter((job) => !named.has(job.job_id) && older(job, last))];
}

/** Whether a job stands behind another in the list. */
function older(job: Job, than: Job): boolean {
  const [a, b] = [Date.parse(job.created_at), Date.parse(than.created_at)];
  return a < b || (a === b && job.job_id < than.job_id);
}
