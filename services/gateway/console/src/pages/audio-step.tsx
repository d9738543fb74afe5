import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { MicrophoneError, Take, type Trouble } from "../audio/microphone";
import { Player } from "../audio/player";
import { language, words } from "../locale";
import { bytes, clock, stamp } from "../locale/format";
import { Icon } from "../ui/icons";
import { PlayerBar } from "../ui/player";

/** A recording that was given, by whichever way. */
export interface Given {
  name: string;
  audio: Blob;
}

/** A file, dropped or chosen, or what the microphone hears. */
export function AudioStep({ given }: { given: Signal<Given | null> }) {
  const take = useSignal<Take | null>(null);
  const trouble = useSignal<Trouble | null>(null);
  useEffect(() => () => take.value?.close(), []);

  const record = async () => {
    trouble.value = null;
    try {
      take.value = await Take.start();
    } catch (thrown) {
      trouble.value = thrown instanceof MicrophoneError ? thrown.trouble : "broken";
    }
  };
  const stop = async () => {
    const file = await take.value?.stop(words.value.audio.fileName(stamp(new Date())));
    take.value = null;
    given.value = file ? { name: file.name, audio: file } : null;
  };

  if (take.value) {
    return <Recording take={take.value} stop={stop} discard={() => (take.value?.close(), (take.value = null))} />;
  }
  if (given.value) {
    return <Chosen given={given.value} replace={() => (given.value = null)} />;
  }
  return (
    <>
      <DropZone take={(file) => (given.value = { name: file.name, audio: file })} />
      <button type="button" class="button record" onClick={record}>
        <Icon name="microphone" />{words.value.audio.record}
      </button>
      <p class="error" role="alert">{trouble.value && words.value.audio.trouble[trouble.value]}</p>
    </>
  );
}

function DropZone({ take }: { take: (file: File) => void }) {
  const t = words.value.audio;
  const over = useSignal(false);
  const first = (files: FileList | null | undefined) => {
    const file = files?.[0];
    if (file) {
      take(file);
    }
  };
  return (
    <div
      class={over.value ? "drop over" : "drop"}
      onDragOver={(e) => (e.preventDefault(), (over.value = true))}
      onDragLeave={() => (over.value = false)}
      onDrop={(e) => (e.preventDefault(), (over.value = false), first(e.dataTransfer?.files))}
    >
      <Icon name="file" />
      <p>{t.drop}</p>
      <label class="plain">
        {t.choose}
        <input type="file" class="unseen" accept="audio/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.mp4,.aac,.webm,.aiff,.aif,.amr,.caf" onChange={(e) => first(e.currentTarget.files)} />
      </label>
      <p class="hint">{t.formats}</p>
    </div>
  );
}

const bars = 48; // of the level's history

/** The microphone at work. */
function Recording({ take, stop, discard }: { take: Take; stop: () => void; discard: () => void }) {
  const t = words.value.audio;
  const history = useRef<number[]>(new Array<number>(bars).fill(0));
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  const seconds = take.seconds.value; // every piece has a new time, and a level
  history.current = [...history.current.slice(1), take.level.peek()];
  return (
    <div class="recording">
      <p class="live"><span class="lamp" />{t.recording}</p>
      <p class="figure" role="timer">{clock(seconds)}</p>
      <div class="levels" role="img" aria-label={t.level}>
        {history.current.map((level, i) => <i key={i} style={{ "--level": Math.min(1, level * 1.4) }} />)}
      </div>
      <div class="row">
        <button ref={button} type="button" class="button" onClick={stop}><Icon name="stop" solid />{t.stop}</button>
        <button type="button" class="plain" onClick={discard}>{t.discard}</button>
      </div>
    </div>
  );
}

/** What was given, to listen to before it goes. */
function Chosen({ given, replace }: { given: Given; replace: () => void }) {
  const t = words.value.audio;
  const player = useSignal<Player | null>(null);
  useEffect(() => {
    const url = URL.createObjectURL(given.audio);
    const made = new Player(url);
    player.value = made;
    return () => (made.close(), URL.revokeObjectURL(url));
  }, [given]);
  return (
    <div class="chosen" role="status">
      <p class="hint">{t.chosen}</p>
      <p class="name">{given.name}</p>
      <p class="about">{bytes(given.audio.size, language.value)}{player.value && player.value.duration.value > 0 && ` · ${clock(player.value.duration.value)}`}</p>
      {player.value && <PlayerBar player={player.value} />}
      <button type="button" class="plain" onClick={replace}>{t.replace}</button>
    </div>
  );
}
