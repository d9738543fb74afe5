import { signal } from "@preact/signals";
import capture from "./capture.worklet.ts?worker&url";
import { Samples } from "./wav";

/** Why there is no recording; each has its words in the dictionaries. */
export type Trouble = "insecure" | "denied" | "no-device" | "broken";

export class MicrophoneError extends Error {
  constructor(readonly trouble: Trouble) {
    super(trouble);
  }
}

/** A recording under way. */
export class Take {
  readonly seconds = signal(0);
  readonly level = signal(0); // peak of the newest piece, 0..1
  readonly lost = signal(false); // the microphone was unplugged, or its permission was taken back
  private readonly samples = new Samples();
  private readonly over = new AbortController();

  private constructor(
    private readonly stream: MediaStream,
    private readonly context: AudioContext,
    private readonly node: AudioWorkletNode,
  ) {
    node.port.onmessage = (message: MessageEvent<Float32Array>) => this.add(message.data);
    stream.getTracks().forEach((track) => track.addEventListener("ended", () => (this.lost.value = true))); // not if close ends it
  }

  /** Asks for the microphone and begins. */
  static async start(): Promise<Take> {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new MicrophoneError("insecure"); // browsers hide it from pages without TLS
    }
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } }).catch(refused);
    let context: AudioContext | undefined;
    try {
      context = new AudioContext();
      await context.audioWorklet.addModule(capture);
      const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
      const take = new Take(stream, context, node);
      context.createMediaStreamSource(stream).connect(node);
      await context.resume();
      take.goOn();
      return take;
    } catch {
      release(stream);
      void context?.close(); // some browsers have only four
      throw new MicrophoneError("broken");
    }
  }

  /** Has the recording go on whatever a phone does meanwhile. */
  private goOn(): void {
    const resume = () => void this.context.resume().catch(() => undefined); // a call may have stopped the sound
    document.addEventListener("visibilitychange", resume, { signal: this.over.signal });
    keepScreenOn(this.over.signal);
  }

  /** Ends the recording and returns it as a file. */
  async stop(name: string): Promise<File> {
    const last = new Promise<void>((resolve) => {
      this.node.port.onmessage = (message: MessageEvent<Float32Array>) => (message.data.length > 0 ? this.add(message.data) : resolve());
    });
    this.node.port.postMessage("flush");
    await last;
    this.close();
    return new File([this.samples.wav(this.context.sampleRate)], name, { type: "audio/wav" });
  }

  /** Ends the recording and forgets it. */
  close(): void {
    this.over.abort();
    this.node.port.onmessage = null;
    release(this.stream);
    void this.context.close();
  }

  private add(piece: Float32Array): void {
    this.samples.add(piece);
    this.seconds.value = this.samples.count / this.context.sampleRate;
    this.level.value = piece.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
  }
}

/** Keeps the screen on while the page is seen: a phone whose screen goes dark stops the page, and with it the recording. */
function keepScreenOn(over: AbortSignal): void {
  let lock: WakeLockSentinel | undefined;
  const take = async () => {
    void lock?.release();
    const locks = navigator.wakeLock as WakeLock | undefined; // not on pages without TLS
    lock = document.hidden ? undefined : await locks?.request("screen").catch(() => undefined);
    if (over.aborted) {
      void lock?.release();
    }
  };
  document.addEventListener("visibilitychange", () => void take(), { signal: over }); // the browser takes it back from a hidden page
  over.addEventListener("abort", () => void lock?.release());
  void take();
}

function release(stream: MediaStream): void {
  stream.getTracks().forEach((track) => track.stop());
}

function refused(cause: unknown): never {
  switch (cause instanceof DOMException ? cause.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      throw new MicrophoneError("denied");
    case "NotFoundError":
      throw new MicrophoneError("no-device");
    default:
      throw new MicrophoneError("broken");
  }
}
