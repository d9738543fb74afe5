const headerBytes = 44;
const bundle = 512; // pieces that become a Blob: 2 MB of the microphone's

/**
 * One channel of samples (-1..1, what is beyond is clipped) on its way to a WAV file of PCM with 16
 * bits. All but the newest samples are in Blobs, which browsers move to the disk: an hour of samples
 * takes 700 MB as numbers, for which phones end a page.
 */
export class Samples {
  count = 0;
  private readonly bundles: Blob[] = [];
  private newest: ArrayBuffer[] = [];

  add(piece: Float32Array): void {
    this.count += piece.length;
    this.newest.push(pcm(piece));
    if (this.newest.length === bundle) {
      this.bundles.push(new Blob(this.newest));
      this.newest = [];
    }
  }

  /** All samples as a WAV file. */
  wav(rate: number): Blob {
    return new Blob([header(this.count, rate), ...this.bundles, ...this.newest], { type: "audio/wav" });
  }
}

/** Numbers are little-endian, as RIFF has them. */
function header(samples: number, rate: number): ArrayBuffer {
  const bytes = samples * 2;
  const view = new DataView(new ArrayBuffer(headerBytes));
  const word = (at: number, text: string) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, headerBytes - 8 + bytes, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // the size of what follows
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true); // bytes a second
  view.setUint16(32, 2, true); // bytes of a frame
  view.setUint16(34, 16, true); // bits of a sample
  word(36, "data");
  view.setUint32(40, bytes, true);
  return view.buffer;
}

function pcm(samples: Float32Array): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, i) => view.setInt16(2 * i, pcm16(sample), true));
  return view.buffer;
}

/** The 16-bit value of a sample; silence for what is no number. */
export function pcm16(sample: number): number {
  const clipped = Math.max(-1, Math.min(1, sample)) || 0;
  return Math.round(clipped * 0x7fff);
}
