import { effect, signal } from "@preact/signals";

/**
 * One recording that plays: the position moves with every frame of the screen,
 * so that cursors glide over the pictures.
 */
export class Player {
  readonly position = signal(0); // s
  readonly duration = signal(0); // s, 0 while unknown
  readonly playing = signal(false);
  readonly unplayable = signal(false); // this browser does not know the format, or the audio is gone
  private readonly audio = new Audio();
  private frame = 0;

  constructor(source: string) {
    const { audio } = this;
    audio.preload = "metadata";
    audio.onloadedmetadata = audio.ondurationchange = () => (this.duration.value = Number.isFinite(audio.duration) ? audio.duration : 0);
    audio.onplay = () => (this.playing.value = true);
    audio.onpause = audio.onended = () => (this.playing.value = false);
    audio.onseeked = () => this.look();
    audio.onerror = () => (this.unplayable.value = true);
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

  toggle(): void {
    if (this.playing.peek()) {
      this.audio.pause();
      return;
    }
    this.audio.play().catch(() => (this.unplayable.value = this.audio.error !== null));
  }

  seek(seconds: number): void {
    this.audio.currentTime = Math.max(0, seconds);
    this.look();
  }

  close(): void {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.onerror = null;
    cancelAnimationFrame(this.frame);
  }

  private look(): void {
    this.position.value = this.audio.currentTime;
  }

  private readonly glide = () => {
    this.look();
    this.frame = requestAnimationFrame(this.glide);
  };
}
