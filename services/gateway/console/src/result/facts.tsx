import type { Analysis } from "../api/types";
import { language, words } from "../locale";
import { warningFor } from "../locale/warnings";

/** What the recording is, as it was stored, and what could not be done. */
export function Facts({ result }: { result: Analysis }) {
  const t = words.value.result;
  const format = [result.format, result.codec !== result.format ? result.codec : undefined].filter(Boolean).join(" · ");
  const facts: [string, string | undefined][] = [
    [t.format, format || undefined],
    [t.sampleRate, result.sample_rate === undefined ? undefined : `${result.sample_rate.toLocaleString(language.value)} Hz`],
    [t.channels, result.channels?.toString()],
  ];
  const known = facts.filter(([, value]) => value !== undefined);
  if (known.length === 0 && !result.warnings?.length) {
    return null;
  }
  return (
    <section class="card">
      <h2>{t.details}</h2>
      <dl class="facts">
        {known.map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
        ))}
      </dl>
      {!!result.warnings?.length && (
        <div class="note">
          <strong>{t.warnings}</strong>
          <ul>{result.warnings.map((warning) => <li key={warning}>{warningFor(warning, language.value, t.serverWarns)}</li>)}</ul>
        </div>
      )}
    </section>
  );
}
