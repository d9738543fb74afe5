import { describe, expect, it, vi } from "vitest";

vi.stubGlobal("navigator", { languages: ["ko"] });
const { signInWithKey } = await import("./sign-in");

describe("an API key", () => {
  it("that no header can have is refused as one that the server does not know", async () => {
    for (const key of ["소리", "sori_a_b\u200b", "sori_a\u2011b", "sori_a b", "", "sori_a\nb"]) {
      await expect(signInWithKey(key)).rejects.toMatchObject({ status: 401, code: "invalid-token" });
    }
  });
});
