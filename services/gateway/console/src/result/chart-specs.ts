import uPlot from "uplot";
import type { Analysis } from "../api/types";
import type { Dictionary, Language } from "../locale";
import { clock, decimal } from "../locale/format";
import type { ChartSpec, Palette } from "./chart";
import { type Curve, levelOf, outlineOf, pitchOf, quiet, range, semitones, stretched } from "./curves";

/** What the charts have in common. */
export interface ChartOptions {
  palette: Palette;
  words: Dictionary;
  language: Language;
}

export function waveform(result: Analysis, { palette, words, language }: ChartOptions): ChartSpec | null {
  const outline = outlineOf(result);
  if (!outline) {
    return null;
  }
  const text = (value: number) => (value === 0 ? "0" : decimal(value, 1, language));
  const tick = Math.floor(outline.reach * 10) / 10;
  return {
    label: words.result.waveformText(clock(result.speech_seconds ?? 0), clock(result.duration ?? 0)),
    height: 132,
    data: [outline.time, outline.max, outline.min],
    series: [{ stroke: palette.wave, width: 1, points: { show: false } }, { stroke: palette.wave, width: 1, points: { show: false } }],
    bands: [{ series: [1, 2], fill: palette.wave }],
    range: [-outline.reach * 1.2, outline.reach], // the strip lies below the waves
    ticks: tick > 0 ? [-tick, 0, tick] : [0],
    tickText: text,
    strip: true,
  };
}

export type PitchMode = "melody" | "hertz";

/** The pitch curve over the reference's. */
export function pitch(result: Analysis, reference: Curve | null, mode: PitchMode, { palette, words, language }: ChartOptions): ChartSpec | null {
  const found = pitchOf(result);
  if (!found) {
    return null;
  }
  const shown = mode === "melody" ? semitones : octaves;
  const own = shown(found);
  const other = reference ? shown(stretched(reference, found)) : null;
  const [low, high] = range([found], 0);
  const series = [line(palette.voice)];
  let data: uPlot.AlignedData = [own.time, own.value];
  if (other) {
    // The reference lies below, where it covers nothing.
    series.unshift(line(palette.reference));
    data = uPlot.join([[other.time, other.value], [own.time, own.value]], [[0, 2], [0, 2]]);
  }
  const curves = other ? [own, other] : [own];
  return {
    label: words.result.pitchText(decimal(low, 0, language), decimal(high, 0, language), decimal(result.pitch_median_hz ?? 0, 0, language)),
    height: 216,
    data,
    series,
    ...(mode === "melody" ? melodyAxis(range(curves, 1), language) : hertzAxis(range(curves, 0.08))),
  };
}

function line(stroke: string): uPlot.Series {
  return { stroke, width: 2.25, points: { show: false }, spanGaps: false, cap: "round" };
}

/** Hz by octaves, as the ear hears them. */
function octaves(curve: Curve): Curve {
  return { time: curve.time, value: curve.value.map((hz) => (hz === null ? null : Math.log2(hz))) };
}

type Axis = Pick<ChartSpec, "range" | "ticks" | "tickText">;

function melodyAxis([low, high]: [number, number], language: Language): Axis {
  const reach = Math.max(3, -low, high);
  const step = reach > 14 ? 12 : reach > 7 ? 6 : 3;
  const most = Math.floor(reach / step) * step;
  const ticks = Array.from({ length: (2 * most) / step + 1 }, (_, i) => i * step - most);
  const text = (value: number) => (value > 0 ? `+${value}` : decimal(value, 0, language));
  return { range: [-reach, reach], ticks, tickText: text };
}

/** Hz at round numbers, a handful of them. */
function hertzAxis([low, high]: [number, number]): Axis {
  const around = 0.3; // of an octave, for a voice that hardly moves
  const bounds: [number, number] = [Math.min(low, (low + high) / 2 - around), Math.max(high, (low + high) / 2 + around)];
  const [from, to] = bounds.map((octave) => 2 ** octave) as [number, number];
  const step = [5, 10, 20, 50, 100, 200].find((size) => (to - from) / size <= 5) ?? 500;
  const ticks: number[] = [];
  for (let hz = Math.ceil(from / step) * step; hz <= to; hz += step) {
    ticks.push(Math.log2(hz));
  }
  return { range: bounds, ticks, tickText: (value) => String(Math.round(2 ** value)) };
}

/** The momentary peaks, with the integrated loudness across them. */
export function loudness(result: Analysis, { palette, words, language }: ChartOptions): ChartSpec | null {
  const level = levelOf(result);
  if (!level) {
    return null;
  }
  const { loudness_lufs: lufs, peak_dbfs: peak } = result;
  const text = (value: number | null | undefined) => (value == null ? "–" : decimal(value, 1, language));
  const data: uPlot.AlignedData = [level.time, level.value, level.time.map(() => lufs ?? null)];
  return {
    label: words.result.levelText(text(lufs), text(peak)),
    height: 148,
    data,
    series: [
      { stroke: palette.level, width: 1.25, fill: palette.speech, fillTo: quiet, points: { show: false } },
      { stroke: palette.reference, width: 1.5, dash: [5, 5], points: { show: false } },
    ],
    range: [quiet, 3],
    ticks: [-60, -40, -20, 0],
    tickText: (value) => decimal(value, 0, language),
    times: true,
  };
}
