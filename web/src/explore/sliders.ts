// Sliders: dimensions in the order in which they matter, principal components, directions from labels.

import { h } from "../dom";
import { words } from "../words/explore";
import { icon, styled } from "./draw";
import type { Here, Piece } from "./here";
import { plus, rounded } from "./latent";

const FEW = 24; // sliders at first, where many dimensions matter

interface Row {
  element: HTMLElement;
  show(): void;
}

/** @param within Whether they stand below the plane, and not in a panel of their own. */
export function slidersPiece(here: Here, within: boolean): Piece {
  const { space } = here;
  const few = Math.max(1, Math.min(space.active, FEW));
  const principal = space.principal;

  const choice = (components: boolean, text: string) =>
    h("button", { type: "button", "aria-pressed": "false", onclick: () => here.view({ components }) }, text);
  const kinds = [choice(false, words.dimensions), choice(true, words.components)];
  const by = h("p", { class: "muted small" });
  const list = h("div", { class: "x-sliders" });
  const more = h("button", { type: "button", class: "quiet", onclick: () => here.view({ more: !here.state.more }) });
  const panel = h(
    "section",
    { class: "panel" },
    h(
      "header",
      { class: "x-head" },
      h("h2", {}, words.sliders),
      principal && h("div", { class: "bar", role: "group", "aria-label": words.sliders }, ...kinds),
    ),
    by,
    list,
    space.latent > few && more,
  );

  const dimension = (i: number) => {
    const bound = space.prior.kind === "uniform" ? (space.prior.bound ?? 1) : 0;
    const [low, high] = bound
      ? [-bound, bound]
      : [space.mean[i]! - 3 * space.spread[i]!, space.mean[i]! + 3 * space.spread[i]!];
    return slider(here, {
      name: words.dimension(i),
      low,
      high,
      weight: space.weight[i]! / Math.max(...space.weight),
      hint: `${space.by}: ${space.weight[i]!.toPrecision(3)}`,
      value: () => here.state.z[i]!,
      change: (value) => ({ z: here.state.z.map((x, j) => (j === i ? rounded(value) : x)) }),
      lock: words.dimension(i),
    });
  };
  const component = (i: number) => {
    const [axis, spread] = [principal!.directions[i]!, principal!.spread[i]!];
    const value = () => axis.reduce((sum, v, j) => sum + v * (here.state.z[j]! - space.mean[j]!), 0);
    return slider(here, {
      name: words.component(i),
      title: words.componentName(i),
      low: -3 * spread,
      high: 3 * spread,
      weight: spread / principal!.spread[0]!,
      hint: `${words.bySpread}: ${spread.toPrecision(3)}`,
      value,
      change: (wanted) => ({ z: plus(here.state.z, axis, wanted - value()).map(rounded) }),
      lock: words.component(i),
    });
  };

  let rows: Row[] = [];
  let made = "";
  const show = () => rows.forEach((row) => row.show());
  const changed = () => {
    const components = here.state.components && principal !== null;
    const key = `${components} ${here.state.more}`;
    if (key !== made) {
      made = key;
      rows = components
        ? principal.directions.map((_, i) => component(i))
        : space.order.slice(0, here.state.more ? undefined : few).map(dimension);
      list.replaceChildren(...rows.map((row) => row.element));
      kinds.forEach((button, i) => button.setAttribute("aria-pressed", String(components === Boolean(i))));
      by.textContent = components ? words.bySpread : words.by(space.by);
      more.textContent = here.state.more ? words.fewer(few) : words.more(space.latent);
      more.hidden = components;
    }
    show();
  };
  let asked = 0; // many sliders are drawn once a frame, after the picture
  const moved = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(show);
  };
  return { element: within ? list : panel, changed, moved, close: () => cancelAnimationFrame(asked) };
}

/** The directions' names as the address has them: one label may have several. */
export function directionNames(directions: Here["space"]["directions"]): string[] {
  return directions.map(({ name, low, high }) =>
    (directions.filter((other) => other.name === name).length > 1 ? `${name} ${low} ${high}` : name).replace(
      /[:;]/g,
      " ",
    ),
  );
}

export function directionsPiece(here: Here): Piece {
  const names = directionNames(here.space.directions);
  const rows = here.space.directions.map(({ name, low, high }, i) =>
    slider(here, {
      name,
      title: words.direction(name, low, high),
      low: -1.5,
      high: 1.5,
      ends: [low, high],
      value: () => here.state.turn[names[i]!] ?? 0,
      change: (value) => ({ turn: { ...here.state.turn, [names[i]!]: Math.abs(value) < 0.02 ? 0 : rounded(value) } }),
    }),
  );
  const element = h(
    "section",
    { class: "panel" },
    h("header", { class: "x-head" }, h("h2", {}, words.directions)),
    h("p", { class: "muted small" }, words.directionsHint),
    h("div", { class: "x-sliders x-turns" }, ...rows.map((row) => row.element)),
  );
  const show = () => rows.forEach((row) => row.show());
  return { element, changed: show, moved: show };
}

export function slider(
  here: Here,
  of: {
    name: string;
    title?: string;
    low: number;
    high: number;
    weight?: number;
    hint?: string;
    /** Where a double click goes. */
    middle?: number;
    ends?: [string, string];
    lock?: string;
    say?: (value: number) => string;
    value(): number;
    change(value: number): Parameters<Here["move"]>[0];
  },
): Row {
  // A key that is held changes the value many times, and is one step; a drag back to its start is no "change" event.
  let [moving, held] = [false, false];
  const done = () => {
    held = false;
    if (moving) here.step();
    moving = false;
  };
  const input = h("input", {
    type: "range",
    min: of.low,
    max: of.high,
    step: "any",
    "aria-label": of.title ?? of.name,
    oninput: () => {
      moving = true;
      here.move(of.change(input.valueAsNumber));
    },
    onkeydown: () => (held = true),
    onchange: () => held || done(),
    onkeyup: done,
    onpointerup: done,
    onblur: done,
    ondblclick: () => here.step(of.change(of.middle ?? (of.lock ? (of.low + of.high) / 2 : 0))),
  });
  const output = h("output", {});
  const locked = () => of.lock !== undefined && here.state.lock.includes(of.lock);
  const lock = h("button", {
    type: "button",
    class: "x-lock",
    "aria-label": words.lock(of.name),
    title: words.lock(of.name),
    onclick: () =>
      here.step({
        lock: locked() ? here.state.lock.filter((name) => name !== of.lock) : [...here.state.lock, of.lock!],
      }),
  });
  const element = h(
    "div",
    { class: of.ends ? "x-slider x-turn" : "x-slider" },
    of.lock && lock,
    h(
      "span",
      { class: "x-name", title: of.hint },
      of.name,
      of.weight !== undefined && styled(h("i"), `--weight: ${Math.max(0, Math.min(1, of.weight))}`),
    ),
    of.ends && h("span", { class: "x-end" }, of.ends[0]),
    input,
    of.ends && h("span", { class: "x-end" }, of.ends[1]),
    output,
  );
  let shownLock: boolean | null = null;
  const show = () => {
    const value = of.value();
    if (input.valueAsNumber !== value) {
      // A code may lie outside of where most do.
      input.min = String(Math.min(of.low, value));
      input.max = String(Math.max(of.high, value));
      input.valueAsNumber = value;
    }
    const text = (of.say ?? words.number)(value).replace("-", "−");
    if (output.value !== text) {
      output.value = text;
      input.setAttribute("aria-valuetext", text);
    }
    if (of.lock && shownLock !== locked()) {
      shownLock = locked();
      lock.setAttribute("aria-pressed", String(shownLock));
      lock.replaceChildren(icon(shownLock ? "lock" : "unlock"));
    }
  };
  return { element, show };
}
