/** A rule that a request broke: where, and which. */
export interface Violation {
  pointer: string;
  detail: string;
}

/**
 * A request that failed: a problem document (RFC 9457), or what stands for one
 * where the answer was none. `code` says what to tell people (locale).
 */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail = "",
    readonly errors: Violation[] = [],
    readonly requestId = "",
    readonly retryAfter = 0,
    readonly extra: Record<string, unknown> = {},
  ) {
    super(`${status} ${code}`);
  }

  /** Whether the same request would be refused again. */
  get refusal(): boolean {
    return this.status >= 400 && this.status < 500 && this.status !== 408 && !this.passing && !this.outOfStep;
  }

  /** Whether a request of a resumable upload did not fit what the server has: the next one asks where to go on. */
  get outOfStep(): boolean {
    return ["offset-mismatch", "upload-superseded", "checksum-mismatch"].includes(this.code);
  }

  /** Whether what was asked for is not there, or no longer. */
  get missing(): boolean {
    return this.status === 404 || this.status === 410;
  }

  /** Whether the same request may simply be made again. */
  get passing(): boolean {
    if (this.code === "quota-exceeded") {
      return this.extra["budget"] === "staged_bytes";
    }
    return this.code === "offline" || this.code === "idempotency-key-in-use" || [429, 502, 503, 504].includes(this.status); // a proxy says 502 and 504 while the server restarts
  }
}

/** The problem of a request that got no answer. */
export function offline(): Problem {
  return new Problem(0, "offline");
}

/** The body of an answer. If the connection breaks in the middle of it, there is no answer. */
export async function textOf(reply: Response, signal?: AbortSignal | null): Promise<string> {
  try {
    return await reply.text();
  } catch (cause) {
    throw signal?.aborted ? cause : offline();
  }
}

/** Reads the problem out of an answer's body, whatever that is. */
export function problemOf(status: number, body: string, retryAfter: string | null): Problem {
  const seconds = Number(retryAfter ?? 0) || 0;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    parsed = undefined;
  }
  if (typeof parsed !== "object" || parsed === null) {
    return new Problem(status, `http-${status}`, "", [], "", seconds);
  }
  const { code, detail, errors, request_id, ...extra } = parsed as Record<string, unknown>;
  return new Problem(
    status,
    typeof code === "string" ? code : `http-${status}`,
    typeof detail === "string" ? detail : "",
    Array.isArray(errors) ? errors.filter(isViolation) : [],
    typeof request_id === "string" ? request_id : "",
    seconds,
    extra,
  );
}

/** Whether an element of `errors` is as the API has it. The server behind a proxy may be another one. */
function isViolation(element: unknown): element is Violation {
  const { pointer, detail } = (element ?? {}) as Record<string, unknown>;
  return typeof pointer === "string" && typeof detail === "string";
}

/** Anything thrown, as a problem. */
export function asProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) {
    return thrown;
  }
  return new Problem(0, "unexpected", thrown instanceof Error ? thrown.message : String(thrown));
}
