const control = "a[href], button, input, summary, [tabindex='0']";
const place = "section, form, main"; // what a screen reader names, where no control is left

interface Focused {
  target: HTMLElement;
  around: HTMLElement[]; // its ancestors, the nearest first
  controls: HTMLElement[]; // of the page, in their order
}

let last: Focused | undefined;
let touched = false; // by a pointer, since the last key: then no field gets the focus, which would open a phone's keyboard

/**
 * Keeps the place of a keyboard's or a screen reader's user. Where the control with the focus is
 * removed or disabled, the browser gives the focus to the document, whose beginning is far away.
 *
 * 1. A control that is only disabled for a while gets the focus back.
 * 2. In place of a removed one, its nearest neighbour within the smallest part of the page that is
 *    left gets the focus, or that part itself.
 */
export function keepFocus(): void {
  document.addEventListener("focusin", (e) => remember(e.target as HTMLElement));
  document.addEventListener("pointerdown", () => ((touched = true), (last = undefined)), true); // who presses beside a control leaves it
  document.addEventListener("keydown", () => (touched = false), true);
  const check = () => requestAnimationFrame(() => setTimeout(restore)); // a new page moves the focus itself (app.tsx)
  new MutationObserver(check).observe(document.body, { childList: true, subtree: true, attributeFilter: ["disabled"] });
}

function remember(target: HTMLElement): void {
  const around: HTMLElement[] = [];
  for (let at = target.parentElement; at && at !== document.body; at = at.parentElement) {
    around.push(at);
  }
  last = { target, around, controls: [...document.querySelectorAll<HTMLElement>(control)] };
}

function restore(): void {
  if (!last || document.activeElement !== document.body) {
    return;
  }
  const { target, around, controls } = last;
  if (target.isConnected) {
    target.focus(); // does nothing while it is disabled
    return;
  }
  const at = controls.indexOf(target);
  const neighbours = [...controls.slice(at + 1), ...controls.slice(0, Math.max(at, 0)).reverse()];
  for (const part of around.filter((part) => part.isConnected)) {
    const found = neighbours.find((other) => part.contains(other) && other.matches(":enabled, a, summary, [tabindex]") && !(touched && other.matches("input")));
    if (take(found) || (part.matches(place) && take(part))) {
      return;
    }
  }
}

/** Gives an element the focus, and tells whether it has it now. */
function take(element: HTMLElement | undefined): boolean {
  if (element && !element.matches(control)) {
    element.tabIndex = -1;
  }
  element?.focus();
  return element !== undefined && document.activeElement === element;
}
