import { describe, expect, it } from "vitest";
import { isSame, sampleOf } from "./sample";

const bytes = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 31) >> 3);
const changed = (of: Uint8Array<ArrayBuffer>, at: number) => of.map((byte, i) => (i === at ? byte + 1 : byte));

describe("a file that is chosen again", () => {
  it("is recognised by its bytes, whatever it is called", async () => {
    for (const size of [0, 1, 4096, 5000, 300_000]) {
      const content = bytes(size);
      const sample = await sampleOf(new File([content], "a.wav"));
      expect(sample.length).toBeLessThanOrEqual(65_536);
      expect(await isSame(new File([content], "b.m4a", { lastModified: 1 }), size, sample), `${size} bytes`).toBe(true);
    }
  });

  it("is another one if it is longer, shorter, or differs at its ends", async () => {
    const content = bytes(300_000);
    const sample = await sampleOf(new Blob([content]));
    const others = [content.slice(1), new Uint8Array([...content, 0]), changed(content, 0), changed(content, 299_999), changed(content, 20_000)];
    expect(await Promise.all(others.map((other) => isSame(new Blob([other]), 300_000, sample)))).toEqual(Array(5).fill(false));
  });
});
