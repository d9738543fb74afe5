import { at } from "../api/prefix";
import { offline, problemOf } from "../api/problem";
import { language } from "../locale";
import { watch } from "./watch";
import { bearer, type Try } from "./way";

/** Sends a recording in a form, in one request; XMLHttpRequest, since fetch tells no upload progress. */
export async function sendForm({ recording, audio, signal, credential, sent, whole }: Try): Promise<string> {
  const form = new FormData();
  form.append("file", audio, recording.name);
  const headers: Record<string, string> = {
    Accept: "application/json",
    "Accept-Language": language.value,
    "Idempotency-Key": recording.key,
    ...(recording.fresh && { "Cache-Control": "no-cache" }),
    ...bearer(await credential()),
  };
  if (signal.aborted) {
    throw offline();
  }
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    const watched = watch(signal, () => request.abort());
    request.onloadend = watched.end;
    request.upload.onprogress = (e) => {
      watched.moves();
      sent(e.total > 0 ? (audio.size * e.loaded) / e.total : 0); // the form is a little larger than the file
    };
    request.upload.onload = () => {
      watched.rests(); // a proxy may take everything at once, and pass it on slowly
      whole();
    };
    request.onerror = request.onabort = () => reject(offline());
    request.onload = () => {
      if (request.status === 202) {
        resolve((JSON.parse(request.responseText) as { job_id: string }).job_id);
      } else {
        reject(problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      }
    };
    request.open("POST", at(`/tokens/${recording.token}/upload-audio`));
    Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, value));
    watched.moves();
    request.send(form);
  });
}
