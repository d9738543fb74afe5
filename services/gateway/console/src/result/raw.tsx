import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Analysis } from "../api/types";
import { words } from "../locale";
import { Icon } from "../ui/icons";
import { csvOf, hasCurves, readable, stem } from "./export";

const mostShown = 500_000; // characters: a browser needs half a minute to lay out 50 million

/** The result as the server sent it, to read and to copy; of a large one only the beginning is shown. */
export function Raw({ sent }: { sent: unknown }) {
  const t = words.value.result;
  const open = useSignal(false);
  const said = useSignal("");
  const text = useMemo(() => (open.value ? readable(sent) : ""), [sent, open.value]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(JSON.stringify(sent));
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
        {text.length > mostShown && <p class="hint">{t.rawBeginning}</p>}
        <pre tabIndex={0} aria-label={t.raw}>{text.slice(0, mostShown)}</pre>
      </details>
      <div class="copy">
        <span role="status">{said}</span>
        <button type="button" class="plain" onClick={copy}>{t.copy}</button>
      </div>
    </section>
  );
}

/** The result as files, and beside them the recording. */
export function Downloads({ result, sent, name, children }: { result: Analysis; sent: unknown; name: string; children: ComponentChildren }) {
  const t = words.value.result;
  return (
    <section class="card downloads" aria-labelledby="downloads">
      <h2 id="downloads">{t.downloads}</h2>
      <div class="row">
        <Download name={`${stem(name)}.json`} type="application/json" text={() => readable(sent)}>{t.downloadJson}</Download>
        {hasCurves(result) && <Download name={`${stem(name)}.csv`} type="text/csv" text={() => csvOf(result)}>{t.downloadCsv}</Download>}
        {children}
      </div>
    </section>
  );
}

/** A link that saves a text as a file. The text is made when it is asked for: that of a long recording takes seconds, which a finger that scrolls need not wait for. */
function Download({ name, type, text, children }: { name: string; type: string; text: () => string; children: ComponentChildren }) {
  const url = useRef("");
  useEffect(() => () => URL.revokeObjectURL(url.current), []);
  const make = (e: { currentTarget: HTMLAnchorElement }) => {
    url.current ||= URL.createObjectURL(new Blob([text()], { type }));
    e.currentTarget.href = url.current;
  };
  return <a class="plain" href="#" download={name} onPointerDown={(e) => e.pointerType === "mouse" && make(e)} onClick={make}><Icon name="download" />{children}</a>;
}
