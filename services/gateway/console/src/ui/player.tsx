import { useRef } from "preact/hooks";
import type { Player } from "../audio/player";
import { words } from "../locale";
import { clock } from "../locale/format";
import { Icon } from "./icons";

/** Plays a recording: a button, the position as a slider, the time. */
export function PlayerBar({ player }: { player: Player }) {
  const t = words.value.player;
  const slider = useRef<HTMLInputElement>(null);
  const told = useRef(0); // the position that a screen reader is told, s
  const [at, length, playing] = [player.position.value, player.duration.value, player.playing.value];
  const text = (seconds: number) => t.at(clock(seconds), clock(length));
  if (!playing || document.activeElement !== slider.current) { // a screen reader speaks every change of the slider with the focus
    told.current = at;
  }
  if (player.unplayable.value) {
    return <p class="quiet">{t.unplayable}</p>;
  }
  return (
    <div class="player">
      <button type="button" class="round" aria-label={playing ? t.pause : t.play} onClick={() => player.toggle()}>
        <Icon name={playing ? "pause" : "play"} solid={!playing} />
      </button>
      <input
        ref={slider}
        type="range"
        min={0}
        max={length || 1}
        step={0.01}
        value={at}
        aria-label={t.position}
        aria-valuetext={text(told.current)}
        style={{ "--done": length > 0 ? at / length : 0 }}
        onInput={(e) => player.seek((told.current = e.currentTarget.valueAsNumber))}
      />
      <span class="time">{clock(at)} <span class="of">/ {clock(length)}</span></span>
    </div>
  );
}
