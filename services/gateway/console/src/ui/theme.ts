import { computed, effect, signal } from "@preact/signals";

export const themes = ["auto", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

const storageKey = "sori.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const system = signal(dark.matches);

export const theme = signal<Theme>(remembered());

/** What the page looks like now: pictures on canvases must follow it. */
export const appearance = computed(() => (theme.value === "auto" ? (system.value ? "dark" : "light") : theme.value));

/** Keeps the page's colours to the choice, and the choice for the next visit. */
export function watchTheme(): void {
  dark.addEventListener("change", () => (system.value = dark.matches));
  effect(() => {
    document.documentElement.dataset["theme"] = theme.value;
    try {
      localStorage.setItem(storageKey, theme.value);
    } catch {
      // it lasts as long as the page
    }
  });
}

export function turn(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length] as Theme;
}

function remembered(): Theme {
  try {
    const kept = localStorage.getItem(storageKey);
    return themes.find((t) => t === kept) ?? "auto";
  } catch {
    return "auto";
  }
}
