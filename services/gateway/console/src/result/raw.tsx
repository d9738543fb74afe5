import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Analysis } from "../api/types";
import { words } from "../locale";

/** The result as the server sent it, to copy. */
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

/** Indented, but with every list of numbers on one line. */
export function readable(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(/\[\s*(?:-?[\d.e+-]+|null)(?:,\s*(?:-?[\d.e+-]+|null))*\s*\]/g, (list) => list.replace(/\s+/g, "").replace(/,/g, ", "));
}
