import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { Analysis } from "../api/types";
import { words } from "../locale";
import { Icon } from "../ui/icons";
import { csvOf, stem } from "./export";

/** The result as the server sent it, to read and to copy. */
export function Raw({ result }: { result: Analysis }) {
  const t = words.value.result;
  const open = useSignal(false);
  const said = useSignal("");
  const text = useMemo(() => readable(result), [result]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(JSON.stringify(result));
      said.value = t.copied;
    } catch {
      open.value = true;
      said.value = t.copyFailed;
    }
  };
  return (
    <section class="card raw">
      <details open={open} onToggle={(e) => (open.value = e.currentTarget.open)}>
        <summary>{t.raw}</summary>
        <pre tabIndex={0} aria-label={t.raw}>{open.value && text}</pre>
      </details>
      <div class="copy">
        <span role="status">{said}</span>
        <button type="button" class="plain" onClick={copy}>{t.copy}</button>
      </div>
    </section>
  );
}

/** The result as files, and beside them the recording. */
export function Downloads({ result, name, children }: { result: Analysis; name: string; children: ComponentChildren }) {
  const t = words.value.result;
  const json = useMemo(() => readable(result), [result]);
  const csv = useMemo(() => csvOf(result), [result]);
  return (
    <section class="card" aria-labelledby="downloads">
      <h2 id="downloads">{t.downloads}</h2>
      <div class="row">
        <Download name={`${stem(name)}.json`} type="application/json" text={json}>{t.downloadJson}</Download>
        {csv !== null && <Download name={`${stem(name)}.csv`} type="text/csv" text={csv}>{t.downloadCsv}</Download>}
        {children}
      </div>
    </section>
  );
}

/** A link that saves a text as a file. */
function Download({ name, type, text, children }: { name: string; type: string; text: string; children: ComponentChildren }) {
  const url = useSignal("");
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([text], { type }));
    url.value = made;
    return () => URL.revokeObjectURL(made);
  }, [text]);
  return <a class="plain" href={url} download={name}><Icon name="download" />{children}</a>;
}

/** Indented, but with every list of numbers on one line. */
export function readable(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(/\[\s*(?:-?[\d.e+-]+|null)(?:,\s*(?:-?[\d.e+-]+|null))*\s*\]/g, (list) => list.replace(/\s+/g, "").replace(/,/g, ", "));
}
