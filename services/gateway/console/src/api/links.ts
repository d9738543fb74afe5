import { credential } from "../auth/session";
import { jobs } from "./client";
import { serverNow } from "./clock";
import { at } from "./prefix";
import type { Ticket } from "./types";

// EventSource and media elements request URLs without headers of the page. Where users
// sign in, these URLs have a ticket, which lets whoever has it read one job for minutes.

const spare = 60_000; // ms that a ticket must be valid for, to be used once more
const tickets = new Map<string, Ticket>();

/** The newest ticket of a job; undefined where nobody signs in. */
async function ticketFor(job: string): Promise<Ticket | undefined> {
  if ((await credential()) === "") {
    return undefined;
  }
  const known = tickets.get(job);
  if (known && Date.parse(known.expires_at) - serverNow() > spare) {
    return known;
  }
  const made = await jobs.ticket(job);
  tickets.set(job, made);
  return made;
}

/** Has the next URL of a job get a new ticket, since the last one was refused. */
export function dropTicket(job: string): void {
  tickets.delete(job);
}

/** The URL of the stream of a job, after the version that was seen last. */
export async function streamUrl(job: string, version: number): Promise<string> {
  const ticket = await ticketFor(job);
  return withQuery(at(ticket?.progress_url ?? `/tokens/analysis-progress/${job}`), version >= 0 ? { last_event_id: String(version) } : {});
}

/** The URL of the stored audio of a job. */
export async function audioUrl(job: string): Promise<string> {
  return at((await ticketFor(job))?.audio_url ?? `/jobs/${job}/audio`);
}

/** The URL at which a browser saves the stored audio of a job under its own name. */
export async function downloadUrl(job: string): Promise<string> {
  return withQuery(await audioUrl(job), { download: "1" });
}

function withQuery(url: string, parameters: Record<string, string>): string {
  const [path = "", query = ""] = url.split("?", 2);
  const all = String(new URLSearchParams([...new URLSearchParams(query), ...Object.entries(parameters)]));
  return all === "" ? path : `${path}?${all}`;
}
