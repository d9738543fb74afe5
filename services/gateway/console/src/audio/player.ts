import { effect, signal } from "@preact/signals";

const renewalPause = 5_000; // ms

/**
 * One recording that plays: the position moves with every frame of the screen,
 * so that cursors glide over the pictures. Its URL may expire: then another one is
 * asked for, and playback goes on where it was.
 */
export class Player {
  readonly position = signal(0); // s
  readonly duration; // s, 0 while unknown
  readonly playing = signal(false);
  readonly unplayable = signal(false); // this browser does not know the format, or the audio is gone
  private readonly audio = new Audio();
  private frame = 0;
  private renewedAt = -renewalPause;
  private renewing = false;
  private measuring = false; // at the end, to learn the length
  private wanted = false; // to play; a URL that has expired may refuse it before its error is told

  constructor(
    source: string,
    private readonly renew?: () => Promise<string>,
    seconds = 0, // its length, if it is known
  ) {
    const { audio } = this;
    this.duration = signal(seconds);
    audio.preload = "metadata";
    audio.onloadedmetadata = audio.ondurationchange = () => this.measure();
    audio.onplay = () => (this.playing.value = true);
    audio.onpause = audio.onended = () => {
      this.playing.value = false;
      this.wanted &&= this.renewing; // a new URL pauses too
    };
    audio.onseeked = () => this.look();
    audio.onerror = () => void this.fail();
    audio.src = source;
    effect(() => {
      if (this.playing.value) {
        this.frame = requestAnimationFrame(this.glide);
      } else {
        cancelAnimationFrame(this.frame);
        this.look();
      }
    });
  }

  /** Learns the length. A browser's own recordings do not tell theirs: it is known when their end is read. */
  private measure(): void {
    const { audio } = this;
    if (audio.duration === Infinity && this.duration.peek() === 0 && !this.measuring && audio.src.startsWith("blob:")) {
      this.measuring = true; // of a file that is here: one of the server's would be fetched whole
      audio.currentTime = Number.MAX_SAFE_INTEGER;
    }
    if (Number.isFinite(audio.duration)) {
      this.duration.value = audio.duration;
      if (this.measuring) {
        this.measuring = false;
        audio.currentTime = 0;
      }
    }
  }

  toggle(): void {
    if (this.playing.peek()) {
      this.wanted = false;
      this.audio.pause();
      return;
    }
    this.wanted = true;
    this.audio.play().catch(() => undefined); // onerror tells what the matter is
  }

  /** Goes on with another URL, unless the one before was just as new. */
  private async fail(): Promise<void> {
    const { audio } = this;
    if (!this.renew || performance.now() - this.renewedAt < renewalPause) {
      this.unplayable.value = true;
      return;
    }
    this.renewedAt = performance.now();
    this.renewing = true;
    const position = audio.currentTime;
    try {
      audio.src = await this.renew();
      audio.currentTime = position;
      if (this.wanted) {
        await audio.play();
      }
    } catch {
      this.unplayable.value = audio.error !== null;
    } finally {
      this.renewing = false;
    }
  }

  seek(seconds: number): void {
    this.audio.currentTime = Math.max(0, seconds);
    this.look();
  }

  close(): void {
    this.audio.onerror = null;
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load(); // else the browser may hold the connection on which it was reading
    cancelAnimationFrame(this.frame);
  }

  private look(): void {
    if (!this.measuring) {
      this.position.value = this.audio.currentTime;
    }
  }

  private readonly glide = () => {
    this.look();
    this.frame = requestAnimationFrame(this.glide);
  };
}
