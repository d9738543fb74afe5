import type { Recording } from "../audio/recordings";

/** One try to send a recording: what it needs, and what it tells while it sends. */
export interface Try {
  recording: Recording;
  audio: Blob;
  signal: AbortSignal; // stops it: it fails as if the connection had broken
  credential: () => Promise<string>; // of the next request
  sent: (bytes: number) => void;
  whole: () => void; // every byte is sent, and the server may make a job
  begun: (upload: string) => void; // the id of a resumable upload
  stored: (bytes: number) => void; // that the server has
}

/** Sends a recording and returns its job. What the server refuses is thrown as a Problem. */
export type Way = (attempt: Try) => Promise<string>;

/** The header with a credential; none where none is needed. */
export const bearer = (credential: string): Record<string, string> => (credential === "" ? {} : { Authorization: `Bearer ${credential}` });
