import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { inspect, unfit } from "./inspect";

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const blob = (text: string) => new Blob([bytes(text)]);

/** The recordings by which the server's own tests know all known formats. */
function recordings(): [name: string, head: Uint8Array][] {
  const at = (dir: string) => new URL(dir, import.meta.url);
  const dirs = ["../../../../../shared/media/testdata/heads/", "../../../internal/sniff/testdata/audio/"];
  for (const dir of dirs) {
    try {
      return readdirSync(at(dir)).map((name) => [name, new Uint8Array(readFileSync(new URL(name, at(dir)))).slice(0, 512)]);
    } catch {
      continue;
    }
  }
  return [];
}

describe("a file", () => {
  it("is refused where it can be no recording", () => {
    const heads = ["\xff\xd8\xff\xe0\0\x10JFIF", "\x89PNG\r\n\x1a\n\0", "GIF89a\x01\0", "RIFF\x10\0\0\0WEBPVP8 ", "\0\0\0\x18ftypheic\0", "%PDF-1.7\n%\xe2\xe3", "PK\x03\x04\x14\0", "\x1f\x8b\x08\0", "these are no sounds", "\xeb\x85\xb9\xec\x9d\x8c"];
    expect(heads.map((head) => unfit(bytes(head)))).toEqual(["image", "image", "image", "image", "image", "pdf", "archive", "archive", "text", "text"]);
  });

  it("is taken where it is a recording of any known format", () => {
    const known = recordings();
    expect(known.length).toBeGreaterThan(20);
    expect(known.filter(([, head]) => unfit(head) !== null).map(([name]) => name)).toEqual([]);
  });

  it("is judged by its size first", async () => {
    expect([await inspect(blob("")), await inspect(blob("RIFF\0\0\0\0"), 4), await inspect(blob("RIFF\0\0\0\0"), 8)]).toEqual(["empty", "too-large", null]);
  });

  it("is refused where it cannot be read", async () => {
    const unreadable = { size: 9, slice: () => ({ arrayBuffer: () => Promise.reject(new Error("gone")) }) } as unknown as Blob;
    expect(await inspect(unreadable)).toBe("unreadable");
  });

  it("is text even where its head ends within a character", () => {
    expect(unfit(bytes("\xeb\x85\xb9\xec\x9d"))).toBe("text");
  });
});
