import { type JobFilter, jobs } from "../api/client";
import type { Job } from "../api/types";

const mostInOnePage = 200; // the server's own limit

/**
 * Reads the newest jobs that a filter chooses, page after page until there are as
 * many as wanted: every row that is shown is as the server has it now.
 */
export async function readJobs(filter: JobFilter, wanted: number, signal: AbortSignal): Promise<{ jobs: Job[]; more: boolean }> {
  const read = new Map<string, Job>(); // a job is in two pages where newer ones came in between
  let cursor: string | null = null;
  do {
    const page = await jobs.list(filter, Math.min(wanted - read.size, mostInOnePage), cursor ?? undefined, signal);
    page.jobs.forEach((job) => read.set(job.job_id, job));
    cursor = page.next_cursor;
  } while (cursor !== null && read.size < wanted);
  return { jobs: [...read.values()], more: cursor !== null };
}
