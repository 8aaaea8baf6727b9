// Three trays of codes.

import { h } from "../dom";
import { words } from "../words/explore";
import { Frame, icon, saveButton } from "./draw";
import type { Here, Piece } from "./here";
import { TRAYS, type Tray } from "./state";

/** The type under which the picture is dragged. */
export const DRAGGED = "application/x-ganvas-code";

export function addTo(here: Here, tray: Tray): void {
  const codes = [...here.state.trays[tray], [...here.code]];
  here.step({ trays: { ...here.state.trays, [tray]: codes } });
  here.app.say(words.added(tray, codes.length));
}

export function traysPiece(here: Here): Piece {
  const boxes = TRAYS.map((name) => {
    const items = h("div", { class: "x-items" });
    const clear = h(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": words.clearTray(name),
        onclick: () => here.step({ trays: { ...here.state.trays, [name]: [] } }),
      },
      words.clear,
    );
    const box = h(
      "div",
      {
        class: "x-tray",
        role: "group",
        "aria-label": words.tray(name),
        ondragover: (event: DragEvent) => {
          if (!event.dataTransfer?.types.includes(DRAGGED)) return;
          event.preventDefault();
          box.classList.add("x-over");
        },
        ondragleave: () => box.classList.remove("x-over"),
        ondrop: (event: DragEvent) => {
          box.classList.remove("x-over");
          if (!event.dataTransfer?.types.includes(DRAGGED)) return;
          event.preventDefault();
          addTo(here, name);
        },
      },
      h("h3", {}, name),
      items,
      h(
        "div",
        { class: "x-tray-do" },
        h(
          "button",
          {
            type: "button",
            "aria-label": words.add(name),
            title: `${words.add(name)} (${name.toLowerCase()})`,
            onclick: () => addTo(here, name),
          },
          "+",
        ),
        clear,
      ),
    );
    let shown: number[][] | null = null;
    let told: Here["told"] | null = null;
    const update = () => {
      const codes = here.state.trays[name];
      if (codes === shown && told === here.told) return;
      [shown, told] = [codes, here.told];
      clear.hidden = !codes.length;
      const frames = codes.map(() => new Frame(here.shape, 1, 1, { "aria-hidden": "true" }));
      items.replaceChildren(
        ...codes.map((code, i) => {
          const called = words.inTray(name, i);
          const without = codes.filter((_, j) => j !== i);
          return h(
            "div",
            { class: "x-item" },
            h(
              "button",
              {
                type: "button",
                class: "x-go",
                "aria-label": words.goTo(called),
                title: words.goTo(called),
                onclick: () => here.visit(code),
              },
              frames[i]!.canvas,
            ),
            saveButton(frames[i]!.canvas, called),
            h(
              "button",
              {
                type: "button",
                class: "x-remove",
                "aria-label": words.remove(called),
                title: words.remove(called),
                onclick: () => here.step({ trays: { ...here.state.trays, [name]: without } }),
              },
              icon("close"),
            ),
          );
        }),
        ...(codes.length ? [] : [h("span", { class: "muted small" }, words.empty)]),
      );
      here.decoder.images(codes).then(
        (images) => images.forEach((image, i) => frames[i]!.draw(image)),
        (error) => here.fail(error),
      );
    };
    return { box, update };
  });
  const element = h(
    "section",
    { class: "panel" },
    h("header", { class: "x-head" }, h("h2", {}, words.trays)),
    h("p", { class: "muted small" }, words.traysHint),
    h("div", { class: "x-trays" }, ...boxes.map(({ box }) => box)),
  );
  return { element, changed: () => boxes.forEach(({ update }) => update()) };
}
