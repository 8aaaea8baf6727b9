// The training images that are nearest to what is shown.

import { h } from "../dom";
import { words } from "../words/explore";
import { Frame, figure, look } from "./draw";
import type { Here, Piece } from "./here";

const COUNT = 8;

export function nearestPiece(here: Here): Piece {
  const button = h("button", { type: "button", class: "primary", onclick: () => void find() }, words.findNearest);
  const status = h("span", { class: "muted small", role: "status" });
  const found = h("div", { class: "x-images" });
  const element = h(
    "div",
    { class: "stack" },
    h("p", { class: "muted small" }, words.nearestHint),
    h("div", { class: "row" }, button, status),
    found,
  );
  const name = (code: number[], told: Here["told"]) => JSON.stringify([code, told]);
  let of = "";
  const find = async () => {
    button.disabled = true;
    status.textContent = words.searching;
    const [code, told] = [[...here.code], here.told];
    try {
      const [[pixels], { rows, distances, images }] = await Promise.all([
        here.decoder.images([code]),
        here.backend.neighbours!(Float32Array.from(code), 1, COUNT, told),
      ]);
      const shown = new Frame(here.shape, 1, 1, { role: "img", "aria-label": words.query });
      shown.draw(pixels!);
      const asked = figure(shown.canvas, words.query, words.query);
      asked.classList.add("x-query");
      of = name(code, told);
      found.replaceChildren(
        asked,
        ...images[0]!.map((address, i) => {
          const name = words.training(rows[0]![i]!, distances[0]![i]!);
          const caption = h("figcaption", {}, words.row(rows[0]![i]!), h("br"), words.distance(distances[0]![i]!));
          const made = figure(h("img", { src: address, alt: name, class: look(here.shape) }), name);
          made.append(caption);
          return made;
        }),
      );
      changed();
    } catch (error) {
      here.fail(error);
    }
    button.disabled = false;
    status.textContent = "";
  };
  // What was found for another picture fades.
  const changed = () => found.classList.toggle("x-stale", of !== "" && of !== name(here.code, here.told));
  return { element, changed };
}
