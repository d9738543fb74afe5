import { effect, type ReadonlySignal, type Signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Segment } from "../api/types";

/** What all charts of a recording share: the time axis, the pointer and the playback position. */
export interface Timeline {
  duration: number;
  segments: Segment[];
  /** Where the pointer is, s; null where it is elsewhere. */
  pointed: Signal<number | null>;
  /** Where the playback is, s; null where nothing can be played. */
  played: ReadonlySignal<number | null>;
  seek: (seconds: number) => void;
}

/** What differs between the charts. */
export interface ChartSpec {
  label: string; // what a screen reader says of it
  height: number;
  data: uPlot.AlignedData;
  series: uPlot.Series[]; // without that of time
  bands?: uPlot.Band[];
  range: [number, number];
  ticks: number[]; // where the y axis has lines
  tickText: (value: number) => string;
  times?: boolean; // the time axis is written below
  strip?: boolean; // the segments as a strip at the bottom
}

/** The colours of the style sheet, as a canvas needs them: resolved. */
export interface Palette {
  text: string;
  grid: string;
  wave: string;
  voice: string;
  reference: string;
  speech: string;
  level: string;
}

export function palette(): Palette {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.setProperty("forced-color-adjust", "none"); // else all colours would be that of the text
  const of = (name: string) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    text: of("ink-soft"), grid: of("line-soft"), wave: of("wave"), voice: of("accent"),
    reference: of("reference"), speech: of("speech"), level: of("level"),
  };
  probe.remove();
  return found;
}

const yAxis = 44; // the width of every y axis, so that the times stand below one another
const edge = 18; // room at the right end, for the last label
const stripHeight = 5;
const font = '11px "Inter Variable", "Noto Sans KR Variable", sans-serif';

/** A chart over the timeline. It is drawn again when its spec or the palette changes. */
export function Chart({ spec, timeline, palette }: { spec: ChartSpec; timeline: Timeline; palette: Palette }) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const head = useRef<HTMLDivElement | null>(null);

  useLayoutEffect(() => {
    const box = host.current as HTMLDivElement;
    const made = new uPlot(options(spec, timeline, palette, box.clientWidth), spec.data, box);
    const playhead = document.createElement("div");
    playhead.className = "playhead";
    made.over.append(playhead);
    made.over.addEventListener("click", () => timeline.pointed.value !== null && timeline.seek(timeline.pointed.value));
    plot.current = made;
    head.current = playhead;
    place(made, playhead, timeline.played.peek());
    return () => {
      made.destroy();
      plot.current = null;
    };
  }, [spec, timeline, palette]);

  useEffect(() => {
    const box = host.current as HTMLDivElement;
    const watch = new ResizeObserver(() => {
      if (plot.current && box.clientWidth > 0 && box.clientWidth !== plot.current.width) {
        plot.current.setSize({ width: box.clientWidth, height: spec.height });
        place(plot.current, head.current, timeline.played.peek());
      }
    });
    watch.observe(box);
    return () => watch.disconnect();
  }, [spec.height, timeline]);

  useEffect(
    () =>
      effect(() => {
        const at = timeline.played.value;
        if (plot.current) {
          place(plot.current, head.current, at);
        }
      }),
    [timeline],
  );

  return <div ref={host} class="plot" role="img" aria-label={spec.label} style={{ height: `${spec.height}px` }} />;
}

/** Moves the playback's line. */
function place(plot: uPlot, playhead: HTMLElement | null, at: number | null): void {
  if (playhead) {
    playhead.hidden = at === null;
    playhead.style.transform = `translateX(${plot.valToPos(at ?? 0, "x")}px)`;
  }
}

function options(d: ChartSpec, timeline: Timeline, palette: Palette, width: number): uPlot.Options {
  const axis: uPlot.Axis = { stroke: palette.text, font, grid: { stroke: palette.grid, width: 1 }, ticks: { show: false }, border: { show: false } };
  return {
    width,
    height: d.height,
    padding: [6, edge, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false }, sync: { key: "recording" } },
    scales: { x: { time: false, range: () => [0, timeline.duration] }, y: { range: () => d.range } },
    axes: [
      { ...axis, size: d.times ? 26 : 0, space: 56, gap: 6, values: (_, at) => at.map((t) => clockTick(t, timeline.duration)), grid: { show: false }, show: d.times ?? false },
      { ...axis, size: yAxis, gap: 8, splits: () => d.ticks, values: (_, at) => at.map(d.tickText) },
    ],
    series: [{}, ...d.series],
    bands: d.bands ?? [],
    hooks: {
      drawClear: [(u) => shade(u, timeline, palette, d.strip ?? false)],
      setCursor: [(u) => (timeline.pointed.value = (u.cursor.left ?? -1) >= 0 ? u.posToVal(u.cursor.left as number, "x") : null)],
    },
  };
}

function clockTick(t: number, duration: number): string {
  return duration >= 60 ? `${Math.floor(t / 60)}:${String(Math.round(t % 60)).padStart(2, "0")}` : `${+t.toFixed(2)} s`;
}

/** Tints what is speech, behind the curves. */
function shade(u: uPlot, { segments }: Timeline, palette: Palette, strip: boolean): void {
  const { ctx, bbox } = u;
  const height = stripHeight * devicePixelRatio;
  ctx.save();
  for (const segment of segments) {
    const left = u.valToPos(segment.start, "x", true);
    const width = u.valToPos(segment.end, "x", true) - left;
    const speech = segment.kind === "speech";
    if (speech) {
      ctx.fillStyle = palette.speech;
      ctx.fillRect(left, bbox.top, width, bbox.height);
    }
    if (strip) {
      ctx.fillStyle = speech ? palette.voice : palette.grid;
      ctx.fillRect(left, bbox.top + bbox.height - height, width, height);
    }
  }
  ctx.restore();
}
