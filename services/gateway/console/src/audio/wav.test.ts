import { describe, expect, it } from "vitest";
import { pcm16, Samples } from "./wav";

const text = (view: DataView, at: number, length: number) => String.fromCharCode(...new Uint8Array(view.buffer, at, length));

/** The WAV file of some pieces of samples. */
async function wav(pieces: number[][], rate: number): Promise<DataView> {
  const samples = new Samples();
  pieces.forEach((piece) => samples.add(new Float32Array(piece)));
  return new DataView(await samples.wav(rate).arrayBuffer());
}

describe("a WAV file", () => {
  it("has the header of 16-bit PCM in one channel", async () => {
    const view = await wav([[0, 1], [-1, 0.5, NaN]], 48_000);
    expect([text(view, 0, 4), text(view, 8, 8), text(view, 36, 4)]).toEqual(["RIFF", "WAVEfmt ", "data"]);
    expect(view.getUint32(4, true)).toBe(view.byteLength - 8);
    expect([20, 22, 32, 34].map((at) => view.getUint16(at, true))).toEqual([1, 1, 2, 16]);
    expect([16, 24, 28, 40].map((at) => view.getUint32(at, true))).toEqual([16, 48_000, 96_000, 10]);
    expect([0, 1, 2, 3, 4].map((i) => view.getInt16(44 + 2 * i, true))).toEqual([0, 32767, -32767, 16384, 0]);
  });

  it("has the samples of all pieces in order, however many", async () => {
    const pieces = Array.from({ length: 1_500 }, (_, i) => [i / 32_767]);
    const view = await wav(pieces, 16_000);
    expect(pieces.map((_, i) => view.getInt16(44 + 2 * i, true))).toEqual(pieces.map((_, i) => i));
  });

  it("may be empty", async () => {
    expect((await wav([], 16_000)).byteLength).toBe(44);
  });
});

describe("a sample", () => {
  it("is clipped, and silence where it is no number", () => {
    expect([2, -2, Infinity, -Infinity, NaN].map(pcm16)).toEqual([32767, -32767, 32767, -32767, 0]);
  });
});
