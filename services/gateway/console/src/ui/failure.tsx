import type { ComponentChildren } from "preact";
import type { Problem } from "../api/problem";
import type { JobError } from "../api/types";
import { language, words } from "../locale";
import { adviceFor, reasonFor } from "../locale/errors";
import { isIn } from "../locale/format";

/**
 * A failure in words that say what to do. Why a job failed, the server may know
 * better; and what went wrong inside it, its operator finds by the request's id.
 */
export function Failure({ of, children }: { of: Problem | JobError | null; children?: ComponentChildren }) {
  if (!of) {
    return null;
  }
  const t = words.value.job;
  const advice = adviceFor(of, language.value);
  const reason = reasonFor(of, language.value);
  const request = "status" in of && of.status >= 500 ? of.requestId : "";
  return (
    <div class="failure" role="alert">
      <p>{advice}</p>
      {reason !== "" && isIn(language.value, reason) && <p class="detail"><span>{t.serverSays}</span> {reason}</p>}
      {reason !== "" && !isIn(language.value, reason) && (
        <details class="detail"><summary>{t.serverSaysElse}</summary><p>{reason}</p></details>
      )}
      {request !== "" && <p class="detail"><span>{t.requestId}</span> <code>{request}</code></p>}
      {children && <div class="row">{children}</div>}
    </div>
  );
}
