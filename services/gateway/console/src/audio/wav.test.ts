import { describe, expect, it } from "vitest";
import { encodeWav, pcm16 } from "./wav";

const text = (view: DataView, at: number, length: number) => String.fromCharCode(...new Uint8Array(view.buffer, at, length));

describe("a WAV file", () => {
  const file = encodeWav([new Float32Array([0, 1]), new Float32Array([-1, 0.5, NaN])], 48_000);
  const view = new DataView(file);

  it("has the header of 16-bit PCM in one channel", () => {
    expect([text(view, 0, 4), text(view, 8, 8), text(view, 36, 4)]).toEqual(["RIFF", "WAVEfmt ", "data"]);
    expect(view.getUint32(4, true)).toBe(file.byteLength - 8);
    expect([20, 22, 32, 34].map((at) => view.getUint16(at, true))).toEqual([1, 1, 2, 16]);
    expect([16, 24, 28, 40].map((at) => view.getUint32(at, true))).toEqual([16, 48_000, 96_000, 10]);
  });

  it("has the samples of all pieces in order", () => {
    expect([0, 1, 2, 3, 4].map((i) => view.getInt16(44 + 2 * i, true))).toEqual([0, 32767, -32767, 16384, 0]);
  });

  it("may be empty", () => {
    expect(encodeWav([], 16_000).byteLength).toBe(44);
  });
});

describe("a sample", () => {
  it("is clipped, and silence where it is no number", () => {
    expect([2, -2, Infinity, -Infinity, NaN].map(pcm16)).toEqual([32767, -32767, 32767, -32767, 0]);
  });
});
