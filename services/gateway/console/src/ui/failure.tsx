import type { ComponentChildren } from "preact";
import type { Problem } from "../api/problem";
import type { JobError } from "../api/types";
import { language, words } from "../locale";
import { adviceFor } from "../locale/errors";

/**
 * A failure in words that say what to do. Why a job failed, the server may know
 * better; and what went wrong inside it, its operator finds by the request's id.
 */
export function Failure({ of, children }: { of: Problem | JobError | null; children?: ComponentChildren }) {
  if (!of) {
    return null;
  }
  const t = words.value.job;
  const told = adviceFor(of, language.value);
  const reason = "retryable" in of && of.detail !== told ? of.detail : "";
  const request = "status" in of && of.status >= 500 ? of.requestId : "";
  return (
    <div class="failure" role="alert">
      <p>{told}</p>
      {reason !== "" && <p class="detail"><span>{t.serverSays}</span> {reason}</p>}
      {request !== "" && <p class="detail"><span>{t.requestId}</span> <code>{request}</code></p>}
      {children && <div class="row">{children}</div>}
    </div>
  );
}
