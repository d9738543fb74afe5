const headerBytes = 44;

/**
 * Encodes one channel of samples (-1..1, what is beyond is clipped) as a WAV file
 * of PCM with 16 bits, little-endian as RIFF has it.
 */
export function encodeWav(chunks: readonly Float32Array[], rate: number): ArrayBuffer {
  const samples = chunks.reduce((n, chunk) => n + chunk.length, 0);
  const bytes = samples * 2;
  const file = new ArrayBuffer(headerBytes + bytes);
  const view = new DataView(file);
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
  let at = headerBytes;
  for (const chunk of chunks) {
    for (const sample of chunk) {
      view.setInt16(at, pcm16(sample), true);
      at += 2;
    }
  }
  return file;
}

/** The 16-bit value of a sample; silence for what is no number. */
export function pcm16(sample: number): number {
  const clipped = Math.max(-1, Math.min(1, sample)) || 0;
  return Math.round(clipped * 0x7fff);
}
