// A run's state and how far it is.

import { h } from "../dom";
import type { Summary } from "../types";
import { shell } from "../words/shell";

/** A badge: the state as word, colour and shape. */
export function badge(): { element: HTMLElement; set(summary: Summary): void } {
  const element = h("span", { class: "badge" });
  return {
    element,
    set(summary) {
      const state = summary.ok ? summary.state : "bad";
      if (element.dataset.state === state) return;
      element.dataset.state = state;
      element.textContent = shell.states[state] ?? state;
    },
  };
}

/** The share of its steps that a run has made, 0 to 1. */
export function done(summary: Summary): number {
  if (summary.state === "finished") return 1; // patience may have ended it early
  return summary.steps ? Math.min(1, summary.step / summary.steps) : 0;
}

export function progress(): { element: HTMLElement; set(summary: Summary): void } {
  const bar = h("i");
  const element = h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  return {
    element,
    set(summary) {
      const share = done(summary);
      bar.style.setProperty("--done", share.toFixed(4));
      element.dataset.state = summary.state;
      element.setAttribute("aria-valuenow", String(Math.floor(100 * share)));
      element.setAttribute("aria-label", summary.id);
    },
  };
}
