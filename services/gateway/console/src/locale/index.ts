import { computed, signal } from "@preact/signals";
import { en } from "./en";
import { ko } from "./ko";

export type Language = "ko" | "en";
export type Dictionary = typeof ko;

export const dictionaries: Record<Language, Dictionary> = { ko, en };

const storageKey = "sori.language";

/** The first language of ours in a list like navigator.languages. */
export function choose(wanted: readonly string[]): Language | undefined {
  const bases = wanted.map((tag) => tag.toLowerCase().split("-")[0]);
  return bases.find((base): base is Language => base === "ko" || base === "en");
}

export const language = signal<Language>(choose([remembered()]) ?? choose(navigator.languages) ?? "en");

/** The sentences in the chosen language. */
export const words = computed(() => dictionaries[language.value]);

export function speak(chosen: Language): void {
  language.value = chosen;
  try {
    localStorage.setItem(storageKey, chosen);
  } catch {
    // a browser that keeps nothing: the choice lasts as long as the page
  }
}

function remembered(): string {
  try {
    return localStorage.getItem(storageKey) ?? "";
  } catch {
    return "";
  }
}
