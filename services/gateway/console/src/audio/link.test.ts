import { describe, expect, it } from "vitest";
import { readLink } from "./link";

describe("a link", () => {
  it("is an http or https URL, of which the fragment is left out", () => {
    expect(readLink("  https://example.com:8443/in/%EB%85%B9%EC%9D%8C%201.wav?signature=s3cret#t=10\n")).toEqual({
      url: "https://example.com:8443/in/%EB%85%B9%EC%9D%8C%201.wav?signature=s3cret", name: "녹음 1.wav", host: "example.com:8443",
    });
    expect(readLink("http://example.com")).toEqual({ url: "http://example.com/", name: "example.com", host: "example.com" });
    expect(readLink("http://example.com/%ff.wav")).toMatchObject({ name: "%ff.wav" });
  });

  it("is refused with its reason otherwise", () => {
    const refused = ["", " \n", "recording.wav", "example.com/a.wav", "s3://bucket/key", "file:///etc/passwd", "javascript:alert(1)", "https://", "https://mina:s3cret@example.com/a.wav", `https://example.com/${"a".repeat(8192)}`];
    expect(refused.map(readLink)).toEqual(["needLink", "needLink", ...Array(6).fill("noLink"), "linkUser", "linkTooLong"]);
  });
});
