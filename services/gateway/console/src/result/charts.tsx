import { computed, signal, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Analysis } from "../api/types";
import type { Player } from "../audio/player";
import { language, words } from "../locale";
import { clock, decimal } from "../locale/format";
import { appearance } from "../ui/theme";
import { loudness, pitch, type PitchMode, waveform } from "./chart-specs";
import { type ChartSpec, palette, Chart, type Timeline } from "./chart";
import { type Curve, lengthOf, levelOf, pitchOf, stretched, valueAt } from "./curves";

interface Props {
  result: Analysis;
  reference: Curve | null;
  player: Player | null;
}

/** The charts of a result, one below the other on one time axis. */
export function Charts({ result, reference, player }: Props) {
  const t = words.value;
  const mode = useSignal<PitchMode>("melody");
  const shown = reference ? mode.value : "hertz";
  const options = useMemo(
    () => ({ palette: palette(), words: words.value, language: language.value }),
    [language.value, appearance.value],
  );
  const timeline = useTimeline(result, player);
  const wave = useMemo(() => waveform(result, options), [result, options]);
  const melody = useMemo(() => pitch(result, reference, shown, options), [result, reference, shown, options]);
  const level = useMemo(() => loudness(result, options), [result, options]);
  const chart = (spec: ChartSpec) => <Chart spec={spec} timeline={timeline} palette={options.palette} />;
  if (!wave && !melody && !level) {
    return <p class="quiet">{t.result.empty}</p>;
  }
  return (
    <div class="pictures">
      <Readout result={result} reference={reference} timeline={timeline} />
      {wave && (
        <figure>
          <figcaption>
            <h3>{t.result.waveform}</h3>
            <span class="legend speech">{t.result.speechLegend}</span>
          </figcaption>
          {chart(wave)}
        </figure>
      )}
      <figure>
        <figcaption>
          <h3>{t.result.pitch}</h3>
          <span class="unit">{shown === "melody" ? t.result.melodyUnit : t.result.hertzUnit}</span>
          {melody && <span class="legend voice">{t.result.yours}</span>}
          {melody && reference && <span class="legend reference">{t.result.reference}</span>}
          {melody && reference && (
            <span class="segmented" role="group" aria-label={t.result.modes}>
              {(["melody", "hertz"] as const).map((choice) => (
                <button type="button" key={choice} aria-pressed={mode.value === choice} onClick={() => (mode.value = choice)}>
                  {t.result[choice]}
                </button>
              ))}
            </span>
          )}
        </figcaption>
        {melody ? chart(melody) : <p class="quiet">{t.result.pitchNone}</p>}
      </figure>
      {level && (
        <figure>
          <figcaption>
            <h3>{t.result.loudnessCurve}</h3>
            <span class="unit">{t.result.levelUnit}</span>
            <span class="legend level">{t.result.peaks}</span>
            {result.loudness_lufs != null && <span class="legend dashed">{t.result.integrated(decimal(result.loudness_lufs, 1, language.value))}</span>}
          </figcaption>
          {chart(level)}
        </figure>
      )}
      <p class="hint">
        {player && !player.unplayable.value ? t.result.seekHint : t.result.hoverHint}
        {melody && reference && ` ${t.result.compared}`}
      </p>
    </div>
  );
}

function useTimeline(result: Analysis, player: Player | null): Timeline {
  return useMemo(
    () => ({
      duration: lengthOf(result),
      segments: result.segments ?? [],
      pointed: signal<number | null>(null),
      played: computed(() => (player && !player.unplayable.value ? player.position.value : null)),
      seek: (at: number) => player?.seek(at),
    }),
    [result, player],
  );
}

/** The values where the pointer is, else where the playback is. */
function Readout({ result, reference, timeline }: { result: Analysis; reference: Curve | null; timeline: Timeline }) {
  const t = words.value.result;
  const curves = useMemo(() => {
    const own = pitchOf(result);
    return { own, level: levelOf(result), reference: own && reference ? stretched(reference, own) : null };
  }, [result, reference]);
  const at = timeline.pointed.value ?? timeline.played.value;
  const text = (curve: Curve | null, digits: number, unit: string) => {
    const value = curve && at !== null ? valueAt(curve, at) : null;
    return value === null ? "–" : `${decimal(value, digits, language.value)} ${unit}`;
  };
  return (
    <dl class="readout" aria-hidden="true">
      <div><dt>{t.time}</dt><dd>{at === null ? "–" : clock(at, 2)}</dd></div>
      <div><dt>{t.pitch}</dt><dd>{text(curves.own, 0, "Hz")}</dd></div>
      {reference && <div><dt>{t.reference}</dt><dd>{text(curves.reference, 0, "Hz")}</dd></div>}
      <div><dt>{t.loudnessCurve}</dt><dd>{text(curves.level, 1, "dB")}</dd></div>
    </dl>
  );
}
