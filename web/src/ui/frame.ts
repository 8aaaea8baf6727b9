// What stands around every page, the exported one too.

import { h } from "../dom";
import { shell } from "../words/shell";
import { icon } from "./icons";
import { setTheme, theme } from "./theme";

const THEMES = ["auto", "light", "dark"] as const;

/** A button from theme to theme. */
export function themeButton(): HTMLButtonElement {
  const button = h("button", { type: "button", class: "icon", onclick: () => {
    setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]!);
    show();
  } });
  const show = (): void => {
    const name = shell.nextTheme(shell.themes[theme()]);
    button.replaceChildren(icon(theme()));
    button.title = name;
    button.setAttribute("aria-label", name);
  };
  show();
  return button;
}

/** A line at the foot of the page that says something for a while, to screen readers too. */
export function toast(): { element: HTMLElement; say(text: string): void } {
  const element = h("div", { class: "toast", role: "status", "aria-live": "polite" });
  let silence = 0;
  return {
    element,
    say(text) {
      element.textContent = "";
      // The same sentence twice is two changes for a screen reader.
      requestAnimationFrame(() => (element.textContent = text));
      clearTimeout(silence);
      silence = window.setTimeout(() => (element.textContent = ""), 3000 + 40 * text.length);
    },
  };
}
