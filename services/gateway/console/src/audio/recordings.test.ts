import { beforeEach, describe, expect, it, vi } from "vitest";
import { admit, leave } from "../auth/session";
import { excess, find, forgetAll, forgetJob, isUnfinished, keep, note, ofJob, type Recording, unfinished } from "./recordings";

vi.stubGlobal("navigator", {});

const now = Date.now();
const hours = (n: number) => n * 3_600_000;
const made = (key: string, changes: Partial<Recording> = {}): Recording => ({ key, owner: "", token: 1, name: `${key}.wav`, size: 10, at: now, ...changes });
const keys = (all: Recording[]) => all.map(({ key }) => key);

describe("what is kept", () => {
  it("is the newest twelve whose upload has ended, and no more than half a gigabyte of them", () => {
    const many = Array.from({ length: 15 }, (_, i) => made(`${i}`, { job: "j", at: now - i }));
    expect(keys(excess(many, now))).toEqual(["12", "13", "14"]);
    const large = [300e6, 100e6, 200e6, 1].map((size, i) => made(`${i}`, { job: "j", size, at: now - i }));
    expect(keys(excess(large, now))).toEqual(["2", "3"]);
  });

  it("is every recording whose upload may still go on, however large", () => {
    const going = Array.from({ length: 20 }, (_, i) => made(`${i}`, { size: 2e9, inParts: true, at: now - i }));
    expect(excess([...going, made("done", { job: "j" })], now)).toEqual([]);
  });

  it("goes on for a day, and in parts for a week: an upload that the server no longer has begins anew", () => {
    const at = (age: number, changes: Partial<Recording>) => isUnfinished(made("a", { at: now - hours(age), ...changes }), now);
    expect([at(23, {}), at(25, {}), at(25, { inParts: true }), at(24 * 8, { inParts: true }), at(0, { job: "j" })]).toEqual([true, false, true, false, false]);
  });
});

describe("recordings of several users", () => {
  const signIn = (owner: string) => (leave(), admit({ by: "key", key: owner, me: { owner, scopes: [] } }));
  beforeEach(async () => {
    signIn("mina");
    await forgetAll();
  });

  it("are found and shown by their owner alone", async () => {
    await keep(made("of-mina", { owner: "mina", audio: new Blob(["a"]), inParts: true, upload: "u" }));
    await keep(made("of-mina-2", { owner: "mina", audio: new Blob(["a"]), job: "job" }));
    expect([keys(await unfinished()), (await find("of-mina"))?.upload, (await ofJob("job"))?.key]).toEqual([["of-mina"], "u", "of-mina-2"]);
    signIn("jun");
    expect([await unfinished(), await find("of-mina"), await ofJob("job")]).toEqual([[], undefined, undefined]);
    await forgetAll(); // of Jun, who signs out
    signIn("mina");
    expect(keys(await unfinished())).toEqual(["of-mina"]);
  });

  it("go with their job, which only its owner can delete", async () => {
    await keep(made("of-mina", { owner: "mina", audio: new Blob(["a"]), job: "job" }));
    await keep(made("of-mina-2", { owner: "mina", audio: new Blob(["a"]), job: "job-2" }));
    signIn("jun");
    await forgetJob("job");
    signIn("mina");
    expect((await ofJob("job"))?.key).toBe("of-mina");
    await forgetJob("job");
    expect([await ofJob("job"), (await ofJob("job-2"))?.key]).toEqual([undefined, "of-mina-2"]);
  });

  it("have their audio only where it was kept", async () => {
    await note(made("no-audio", { owner: "mina", job: "job" }));
    expect([await ofJob("job"), (await find("no-audio"))?.audio]).toEqual([undefined, undefined]);
  });
});
