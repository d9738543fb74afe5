// Runs on the audio thread: passes on what the microphone gives, in pieces.

declare const AudioWorkletProcessor: new () => { readonly port: MessagePort };
declare function registerProcessor(name: string, processor: new () => unknown): void;

const pieceSamples = 2048; // about 23 messages a second at 48 kHz

class Capture extends AudioWorkletProcessor {
  private piece = new Float32Array(pieceSamples);
  private filled = 0;

  constructor() {
    super();
    // Asked to flush, it sends the rest, and an empty piece as its last word.
    this.port.onmessage = () => {
      this.send();
      this.port.postMessage(new Float32Array(0));
    };
  }

  process(inputs: Float32Array[][]): boolean {
    const channels = inputs[0] ?? [];
    const frames = channels[0]?.length ?? 0;
    for (let i = 0; i < frames; i++) {
      let sum = 0;
      for (const channel of channels) {
        sum += channel[i] ?? 0;
      }
      this.piece[this.filled++] = sum / channels.length;
      if (this.filled === pieceSamples) {
        this.send();
      }
    }
    return true;
  }

  private send(): void {
    if (this.filled > 0) {
      this.port.postMessage(this.piece.slice(0, this.filled));
      this.filled = 0;
    }
  }
}

registerProcessor("capture", Capture);
