import type { ComponentChildren } from "preact";
import type { Analysis, Token } from "../api/types";
import { language, words } from "../locale";
import { clock, decimal, percent, span } from "../locale/format";
import { notCompared } from "./comparison";

/** The figures of a result, the most telling first. What is unknown is a dash. */
export function Scores({ result, token }: { result: Analysis; token: Token | undefined }) {
  const t = words.value.result;
  const l = language.value;
  const text = (value: number | null | undefined, digits: number) => (value == null ? null : decimal(value, digits, l));
  const { duration, speech_seconds: speech, pitch_similarity: similarity } = result;
  return (
    <dl class="scores">
      <Score name={t.similarity} value={text(similarity, 0)} of="100" hint={similarity == null ? t.notCompared[notCompared(result, token)] : t.similarityHint}>
        {similarity != null && <meter class="match" min={0} max={100} value={similarity} aria-hidden="true" />}
      </Score>
      <Score name={t.pitchMedian} value={text(result.pitch_median_hz, 0)} unit="Hz" hint={result.voiced_segments != null ? t.voiced(String(result.voiced_segments)) : ""} />
      <Score name={t.loudness} value={text(result.loudness_lufs, 1)} unit="LUFS" hint={result.true_peak_dbtp != null ? t.truePeak(decimal(result.true_peak_dbtp, 1, l)) : ""} />
      <Score name={t.speech} value={speech == null ? null : clock(speech)} hint={speech != null && duration ? t.speechOf(percent(speech / duration, l)) : ""} />
      <Score name={t.rate} value={text(result.speech_rate, 1)} unit={t.rateUnit} hint={result.articulation_rate != null ? t.articulation(decimal(result.articulation_rate, 1, l)) : ""} />
      <Score name={t.duration} value={duration == null ? null : clock(duration)} hint={result.analysis_seconds != null ? `${t.analysisTime} ${span(result.analysis_seconds, l)}` : ""} />
    </dl>
  );
}

interface ScoreProps {
  name: string;
  value: string | null;
  unit?: string;
  of?: string;
  hint: string;
  children?: ComponentChildren;
}

function Score({ name, value, unit, of, hint, children }: ScoreProps) {
  return (
    <div class="score">
      <dt>{name}</dt>
      <dd>
        <span class="figure">{value ?? "–"}</span>
        {value !== null && of && <span class="of"> / {of}</span>}
        {value !== null && unit && <span class="of"> {unit}</span>}
        {children}
        <span class="hint">{hint}</span>
      </dd>
    </div>
  );
}
