// Controls with names.

import { h } from "../dom";
import { shell } from "../words/shell";
import { icon } from "./icons";

export interface Slider {
  readonly element: HTMLElement;
  readonly input: HTMLInputElement;
  /** Shows a value without telling `oninput`. */
  set(value: number): void;
  /** A new range, of the same steps. */
  range(min: number, max: number): void;
}

/** A range with its name and its value in words; the arrow keys move it. */
export function slider(options: {
  name: string;
  min: number;
  max: number;
  step: number | "any";
  value: number;
  say?: (value: number) => string;
  oninput: (value: number) => void;
}): Slider {
  const say = options.say ?? String;
  const output = h("output", {});
  const { name, min, max, step } = options;
  const input = h("input", { type: "range", min, max, step, "aria-label": name, oninput: () => options.oninput(shown()) });
  input.value = String(options.value);
  const shown = (): number => {
    const value = Number(input.value);
    output.textContent = say(value);
    input.setAttribute("aria-valuetext", output.textContent);
    return value;
  };
  shown();
  return {
    element: h("div", { class: "slider" }, h("span", { "aria-hidden": "true" }, name), output, input),
    input,
    set(value) {
      input.value = String(value);
      shown();
    },
    range(low, high) {
      input.min = String(low);
      input.max = String(high);
      shown();
    },
  };
}

export interface Tabs {
  readonly element: HTMLElement;
  select(name: string): void;
}

/** Tabs over panels, of which one is shown; arrow keys move between them. */
export function tabs(name: string, panels: Record<string, { title: string; panel: HTMLElement }>, onselect?: (name: string) => void): Tabs {
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": name });
  const buttons = new Map<string, HTMLButtonElement>();
  const select = (wanted: string): void => {
    for (const [key, button] of buttons) {
      button.setAttribute("aria-selected", String(key === wanted));
      button.tabIndex = key === wanted ? 0 : -1;
      panels[key]!.panel.hidden = key !== wanted;
    }
  };
  for (const [key, { title, panel }] of Object.entries(panels)) {
    const id = `tab-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const button = h("button", { type: "button", role: "tab", id, onclick: () => {
      select(key);
      onselect?.(key);
    } }, title);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
    buttons.set(key, button);
    list.append(button);
  }
  list.addEventListener("keydown", (event) => {
    const all = [...buttons.values()];
    const at = all.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const button = all[(to + all.length) % all.length]!;
    button.focus();
    button.click();
  });
  select(Object.keys(panels)[0] ?? "");
  return { element: list, select };
}

/** A command to type, with a button that copies it. */
export function command(text: string, say: (text: string) => void): HTMLElement {
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      say(shell.copied);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection()?.removeAllRanges();
      getSelection()?.addRange(range);
      say(shell.cannotCopy);
    }
  };
  const code = h("code", {}, text);
  return h("div", { class: "command" }, code, h("button", { type: "button", class: "quiet", "aria-label": `${shell.copy}: ${text}`, onclick: () => void copy() }, icon("copy"), shell.copy));
}

/** What stands where there is nothing yet. */
export function empty(...children: (Node | string)[]): HTMLElement {
  return h("div", { class: "empty stack" }, ...children.map((child) => (typeof child === "string" ? h("p", {}, child) : child)));
}
