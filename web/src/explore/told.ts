// What a conditional model is told: a value of each label, or nothing; and how much its images show of it.

import { h } from "../dom";
import { words } from "../words/explore";
import { icon } from "./draw";
import type { Here, Piece } from "./here";
import { slider } from "./sliders";
import { GUIDANCE } from "./state";

export function toldPiece(here: Here): Piece {
  const { condition, guides } = here.space;
  /** The state with a label told, in the order of the condition; undefined: not told. */
  const telling = (name: string, value: string | undefined) => {
    const all: Record<string, string | undefined> = { ...here.state.given, [name]: value };
    const told = condition.flatMap((it) => (all[it.name] === undefined ? [] : [[it.name, all[it.name]!]]));
    return { given: Object.fromEntries(told) as Record<string, string> };
  };
  const rows = condition.map((it) => (it.number ? dial(it) : choice(it)));
  const guidance = slider(here, {
    name: words.guidance,
    hint: words.guidanceHint,
    low: 0,
    high: GUIDANCE,
    middle: 1,
    value: () => here.state.guidance,
    change: (value) => ({ guidance: Number(value.toFixed(2)) }),
  });
  guidance.element.classList.add("x-told");
  const element = h(
    "section",
    { class: "panel stack x-tell" },
    h("h2", {}, words.told),
    ...rows.map((row) => row.element),
    guides && guidance.element,
  );

  function choice({ name, values }: (typeof condition)[number]) {
    const select = h(
      "select",
      { "aria-label": name, onchange: () => here.step(telling(name, values[select.selectedIndex - 1])) },
      ...[words.notTold, ...values].map((text) => h("option", {}, text)),
    );
    const show = () => (select.selectedIndex = 1 + values.indexOf(here.state.given[name] ?? ""));
    return { element: h("label", { class: "x-told" }, h("span", { class: "x-name" }, name), select), show };
  }

  function dial({ name, values: [least = "0", most = "1"] }: (typeof condition)[number]) {
    const [low, high] = [Number(least), Number(most)];
    const value = () => here.state.given[name];
    const row = slider(here, {
      name,
      low,
      high,
      middle: (low + high) / 2,
      value: () => Number(value() ?? (low + high) / 2),
      say: (amount) => (value() === undefined ? words.notTold : String(Number(amount.toPrecision(4)))),
      change: (amount) => telling(name, String(Number(amount.toPrecision(4)))),
    });
    const untell = h(
      "button",
      {
        type: "button",
        class: "x-lock",
        "aria-label": words.untell(name),
        title: words.untell(name),
        onclick: () => here.step(telling(name, undefined)),
      },
      icon("close"),
    );
    row.element.classList.add("x-told");
    row.element.append(untell);
    const show = () => {
      row.show();
      row.element.classList.toggle("x-untold", value() === undefined);
      untell.disabled = value() === undefined;
    };
    return { element: row.element, show };
  }

  const show = () => {
    for (const row of rows) row.show();
    guidance.show();
    const nothing = !Object.keys(here.state.given).length; // then there is nothing to show more of
    guidance.element.classList.toggle("x-untold", nothing);
    guidance.element.querySelector("input")!.disabled = nothing;
  };
  return { element, changed: show, moved: show };
}
