import { effect } from "@preact/signals";

/** Has the browser ask before it leaves the page, while that would lose something. */
export function guard(needed: () => boolean): void {
  const ask = (e: BeforeUnloadEvent) => e.preventDefault();
  effect(() => {
    if (needed()) {
      addEventListener("beforeunload", ask);
    } else {
      removeEventListener("beforeunload", ask); // with it, some browsers keep no page for the way back
    }
  });
}
