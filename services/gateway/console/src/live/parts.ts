import { type DetailedError, Upload } from "tus-js-client";
import { at } from "../api/prefix";
import { asProblem, offline, Problem, problemOf } from "../api/problem";
import { language } from "../locale";
import { watch } from "./watch";
import { bearer, type Try } from "./way";

/** Files up to this size go in one request, in a form: for them, parts would cost more than they save. */
export const largestForm = 16 << 20; // bytes

// The server stores parts of this size. Each is a request of its own, so that one that breaks is
// sent again alone, and that proxies which limit or buffer bodies let it pass.
const partBytes = 5 << 20;

/** Sends a recording in parts, by a resumable upload (tus), from where an earlier try has stopped. */
export function sendInParts({ recording, audio, signal, credential, sent, whole, begun, stored }: Try): Promise<string> {
  return new Promise((resolve, reject) => {
    let job = "";
    const settle = (end: () => void) => {
      watched.end();
      end();
    };
    const tus: Upload = new Upload(audio, {
      // Without an endpoint, an upload that cannot be resumed is not begun anew behind our back.
      ...(recording.upload === undefined ? { endpoint: here("/uploads/") } : { uploadUrl: here(`/uploads/${recording.upload}`) }),
      metadata: { token_id: String(recording.token), filename: recording.name },
      headers: { "Accept-Language": language.value },
      chunkSize: partBytes,
      retryDelays: null, // an Upload waits and tries again (upload.ts)
      storeFingerprintForResuming: false, // the recordings have it, for each user
      onBeforeRequest: async (request) => {
        watched.moves();
        const headers = { ...bearer(await credential()), ...(recording.fresh && request.getMethod() === "POST" && { "Cache-Control": "no-cache" }) };
        if (watched.ended) {
          throw offline();
        }
        Object.entries(headers).forEach(([name, value]) => request.setHeader(name, value));
      },
      onAfterResponse: (_, response) => {
        job = response.getHeader("Sori-Job") || job;
      },
      onUploadUrlAvailable: () => {
        begun(tus.url?.split("/").pop() ?? "");
        if (watched.ended) {
          void tus.abort();
        }
      },
      onProgress: (bytes) => {
        watched.moves();
        if (watched.ended) {
          return;
        }
        sent(bytes);
        if (bytes === audio.size) {
          whole();
        }
      },
      onChunkComplete: (_, bytes) => stored(bytes),
      onError: (error) => settle(() => reject(failure(error))),
      onSuccess: () => settle(() => (job === "" ? reject(new Problem(0, "unexpected")) : resolve(job))),
    });
    const stop = () => {
      if (tus.url !== null) {
        void tus.abort();
      } // else its id is awaited, so that the upload can be resumed or removed
      settle(() => reject(offline()));
    };
    const watched = watch(signal, stop);
    tus.start();
  });
}

/** A URL of the API for tus-js-client, which knows nothing of the page's. */
const here = (path: string) => new URL(at(path), location.href).href;

/** What a failure of tus-js-client is: the server's problem, or a connection that broke. */
function failure(error: Error | DetailedError): Problem {
  if (!("originalResponse" in error)) {
    return asProblem(error);
  }
  const { originalRequest: request, originalResponse: response } = error;
  if (!response) {
    return offline();
  }
  const status = response.getStatus();
  if (request.getMethod() !== "POST" && (status === 404 || status === 410)) {
    return new Problem(status, "upload-not-found"); // the answer to HEAD has no words
  }
  return problemOf(status, response.getBody(), response.getHeader("Retry-After") ?? null);
}
