import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Limits } from "../api/types";
import { dropRecording, forgo, type Given, given, giveLink, record, stopRecording, take } from "../audio/draft";
import { inspect, type Unfit } from "../audio/inspect";
import { type BadLink, readLink } from "../audio/link";
import { MicrophoneError, type Take, type Trouble } from "../audio/microphone";
import { Player } from "../audio/player";
import { language, words } from "../locale";
import { atMost, bytes, clock, isolated } from "../locale/format";
import { Field } from "../ui/field";
import { Icon } from "../ui/icons";
import { PlayerBar } from "../ui/player";
import { say } from "../ui/toast";

/** The size of the largest recording that goes one of the ways; undefined if the server does not tell it. */
export function largest(limits: Limits | undefined, ...ways: string[]): number | undefined {
  const sizes = (limits?.uploads ?? []).filter(({ way }) => ways.includes(way)).map(({ max_bytes }) => max_bytes);
  return sizes.length > 0 ? Math.max(...sizes) : undefined;
}

/** A file, dropped or chosen, what the microphone hears, or a link. */
export function AudioStep({ limits }: { limits: Limits | undefined }) {
  const linking = useSignal(false);
  const trouble = useSignal<Trouble | null>(null);
  const refused = useSignal<{ name: string; why: Unfit } | null>(null);
  const limit = largest(limits, "form", "tus");
  useEffect(() => keepOnLeaving, []);

  const start = async () => {
    trouble.value = refused.value = null;
    try {
      await record();
    } catch (thrown) {
      trouble.value = thrown instanceof MicrophoneError ? thrown.trouble : "broken";
    }
  };
  const choose = async (file: File) => {
    trouble.value = refused.value = null;
    forgo();
    const why = await inspect(file, limit);
    if (why) {
      refused.value = { name: file.name, why };
    } else {
      given.value = { name: file.name, audio: file, recorded: false };
    }
  };

  if (take.value) {
    return <Recording take={take.value} stop={() => void stopRecording()} discard={dropRecording} />;
  }
  if (given.value) {
    return <Chosen given={given.value} replace={() => (given.value = null)} />;
  }
  if (linking.value) {
    return <LinkForm limit={largest(limits, "url")} leave={() => (linking.value = false)} />;
  }
  const t = words.value.audio;
  return (
    <>
      <DropZone take={(file) => void choose(file)} limit={limit} />
      <p class="error" role="alert">{refused.value && t.refused(isolated(refused.value.name), reason(refused.value.why, limit))}</p>
      <div class="ways-in">
        <button type="button" class="button record" onClick={start}>
          <Icon name="microphone" />{t.record}
        </button>
        <button type="button" class="button record" onClick={() => (forgo(), (linking.value = true))}>
          <Icon name="link" />{t.link}
        </button>
      </div>
      <p class="error" role="alert">{trouble.value && t.trouble[trouble.value]}</p>
    </>
  );
}

function reason(why: Unfit, limit = 0): string {
  const t = words.value.audio;
  return why === "too-large" ? t.tooLarge(atMost(limit, language.value)) : t.unfit[why];
}

/** Stops a recording whose page is left, and keeps what it has. */
function keepOnLeaving(): void {
  forgo();
  if (take.peek()) {
    void stopRecording().then(() => say(words.value.audio.keptRecording));
  }
}

function DropZone({ take, limit }: { take: (file: File) => void; limit: number | undefined }) {
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
        <input type="file" class="unseen" accept="audio/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.mp4,.mov,.3gp,.aac,.webm,.aiff,.aif,.amr,.caf" onChange={(e) => (first(e.currentTarget.files), (e.currentTarget.value = ""))} />
      </label>
      <p class="hint">{t.formats}{limit !== undefined && <><br />{t.limit(atMost(limit, language.value))}</>}</p>
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
  useEffect(() => {
    if (take.lost.value) { // otherwise it would go on as silence
      stop();
      say(t.lostMicrophone);
    }
  }, [take.lost.value]);
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

/** The address of a recording, which the server fetches. */
function LinkForm({ limit, leave }: { limit: number | undefined; leave: () => void }) {
  const t = words.value.audio;
  const typed = useSignal("");
  const bad = useSignal<BadLink | null>(null);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => form.current?.querySelector("input")?.focus(), []);
  const submit = (e: Event) => {
    e.preventDefault();
    const read = readLink(typed.value);
    if (typeof read === "string") {
      bad.value = read;
      form.current?.querySelector("input")?.focus();
    } else {
      leave();
      giveLink(read);
    }
  };
  return (
    <form ref={form} class="form" noValidate onSubmit={submit}>
      <Field
        label={t.linkLabel} value={typed.value} set={(text) => ((typed.value = text), (bad.value = null))}
        hint={t.linkHint(limit === undefined ? "" : atMost(limit, language.value))} error={bad.value ? t.badLink[bad.value] : undefined}
        required type="url" inputMode="url" autoComplete="off" spellcheck={false} placeholder="https://"
      />
      <div class="row">
        <button class="button">{t.useLink}</button>
        <button type="button" class="plain" onClick={leave}>{t.noLink}</button>
      </div>
    </form>
  );
}

/** What was given, to listen to before it goes. */
function Chosen({ given, replace }: { given: Given; replace: () => void }) {
  const t = words.value.audio;
  return (
    <div class="chosen">
      <div role="status">
        <p class="hint">{t.chosen}</p>
        <p class="name"><bdi>{given.name}</bdi></p>
      </div>
      {"audio" in given ? <Listen audio={given.audio} /> : <p class="about">{t.fromHost(given.host)}</p>}
      <button type="button" class="plain" onClick={replace}>{t.replace}</button>
    </div>
  );
}

function Listen({ audio }: { audio: Blob }) {
  const player = useSignal<Player | null>(null);
  useEffect(() => {
    const url = URL.createObjectURL(audio);
    const made = new Player(url);
    player.value = made;
    return () => (made.close(), URL.revokeObjectURL(url));
  }, [audio]);
  return (
    <>
      <p class="about">{bytes(audio.size, language.value)}{player.value && player.value.duration.value > 0 && ` · ${clock(player.value.duration.value)}`}</p>
      {player.value && <PlayerBar player={player.value} />}
    </>
  );
}
