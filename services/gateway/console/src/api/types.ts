// What the gateway answers, as its HTTP contract has it. A field that an older
// server leaves out is optional.

/** What may be uploaded, and how. */
export interface Limits {
  uploads?: { way: "form" | "tus" | "url" | "s3-form" | "s3-multipart"; max_bytes: number }[];
}

export interface Script {
  id: number;
  token_id: number;
  start_time: number;
  end_time: number;
  script: string;
  translation: string | null;
}

export interface Token {
  id: number;
  token_name: string;
  actor_name: string;
  category: string | null;
  start_time: number;
  end_time: number;
  s3_textgrid_url: string | null;
  s3_pitch_url: string | null;
  s3_bgvoice_url: string | null;
  youtube_url: string | null;
  scripts: Script[];
  /** The parsed JSON behind s3_pitch_url; of a token's detail alone. */
  pitch?: unknown;
}

export const statuses = ["processing", "completed", "failed", "canceled"] as const;
export type Status = (typeof statuses)[number];

export interface JobError {
  code: string;
  detail: string;
  retryable: boolean;
}

/** Where a job is on its way. */
export type JobStage =
  "received" | "fetching" | "uploading" | "stored" | "waiting" | "dispatched" | "refused" | "completed" | "failed" | "canceled" | "erased";

/** How far the fetch of a recording from its URL is. */
export interface Fetch {
  bytes: number;
  size?: number;
  try: number;
}

/** What a progress frame, a result and a list all tell of a job. */
export interface State {
  job_id: string;
  status: Status;
  stage: JobStage;
  progress: number;
  message: string;
  analysis_message?: string;
  next_attempt_at?: string;
  waiting_code?: string;
  fetch?: Fetch;
  error?: JobError | null;
  /** What was corrected in the analysis server's report, by codes. */
  warnings?: string[];
}

export interface Frame extends State {
  result: unknown; // any JSON of the analysis server's, read by analysisOf; null before the end
}

export interface Job extends State {
  token_id: string;
  created_at: string;
  updated_at: string;
  file_name: string;
  size?: number;
  duration?: number | null;
  /** When the recording will be deleted, or was, where recordings are kept for a limited time. */
  audio_expires_at?: string;
  audio_deleted_at?: string;
}

export interface JobDetail extends Job {
  result: unknown; // as in a Frame
  /** The result is that of an earlier job with the same recording. */
  cached?: boolean;
}

/** What lets EventSource and media elements read one job. The URLs are paths of the API. */
export interface Ticket {
  expires_at: string;
  progress_url: string;
  audio_url: string;
}

export interface JobPage {
  jobs: Job[];
  next_cursor: string | null;
}

export interface Segment {
  start: number;
  end: number;
  kind: string;
}

/** analysis_results of the reference server. Another server's may lack any of it. */
export interface Analysis {
  duration?: number;
  sample_rate?: number;
  channels?: number;
  format?: string;
  codec?: string;
  loudness_lufs?: number | null;
  peak_dbfs?: number | null;
  true_peak_dbtp?: number | null;
  segments?: Segment[];
  speech_seconds?: number;
  pitch?: { hop_seconds: number; hz: (number | null)[] };
  pitch_median_hz?: number | null;
  voiced_segments?: number;
  speech_rate?: number;
  articulation_rate?: number | null;
  pitch_similarity?: number | null;
  waveform?: { min: number[]; max: number[] };
  warnings?: string[];
  analysis_seconds?: number;
}

export function ended(status: Status): boolean {
  return status !== "processing";
}
