// The plane of a two-dimensional latent space, at the scale of its prior.

import { h } from "../dom";
import { words } from "../words/explore";
import { Frame, saveButton, styled } from "./draw";
import type { Here, Piece } from "./here";
import { linearScale, manifold, normalInverse, normalScale, rounded, type Scale } from "./latent";
import { pad, put, sized } from "./pad";

const SIDE = 20; // images on a side of the grid, as in Kingma & Welling's figure 4

export function planePiece(here: Here): Piece {
  const { prior, mean, spread } = here.space;
  const inverse =
    prior.kind === "normal"
      ? normalInverse
      : prior.kind === "uniform"
        ? (p: number) => (2 * p - 1) * (prior.bound ?? 1)
        : null;
  const straight = [0, 1].map((i) =>
    prior.kind === "normal"
      ? linearScale(-3, 3)
      : prior.kind === "uniform"
        ? linearScale(-(prior.bound ?? 1), prior.bound ?? 1)
        : linearScale(mean[i]! - 3 * spread[i]!, mean[i]! + 3 * spread[i]!),
  );
  const gridded = () => inverse !== null && !here.state.plain;
  const scales = (): Scale[] => (gridded() && prior.kind === "normal" ? [normalScale, normalScale] : straight);

  const mark = h("div", { class: "x-mark" });
  const lines = h("div", { class: "x-lines" });
  const read = h("span", { class: "hidden-text", "aria-live": "polite" });
  const sheet = inverse && new Frame(here.shape, SIDE, SIDE, { "aria-hidden": "true" });
  const square = h(
    "div",
    { class: "x-pad", tabindex: 0, role: "application", "aria-label": words.plane, "aria-describedby": "x-plane-keys" },
    sheet && sheet.canvas,
    lines,
    mark,
  );
  const ticks = h("div", { class: "x-ticks", "aria-hidden": "true" });
  const grid = h("input", { type: "checkbox", onchange: () => here.view({ plain: !grid.checked }) });

  const keep = sheet && saveButton(sheet.canvas, words.grid);

  let size = 0;
  const moved = () => {
    const [x, y] = scales();
    put(mark, size, x!.place(here.code[0]!), y!.place(here.code[1]!));
  };

  pad(square, {
    drag: (u, v) => {
      const [x, y] = scales();
      here.move({ z: [rounded(x!.value(u)), rounded(y!.value(v))], turn: {} });
    },
    drop: () => {
      here.step();
      read.textContent = words.planeAt(here.code[0]!, here.code[1]!);
    },
    nudge: (dx, dy) =>
      here.move({
        z: [dx, dy].map((d, i) => rounded(here.code[i]! + (d * (straight[i]!.high - straight[i]!.low)) / 100)),
        turn: {},
      }),
  });

  let drawn: Here["told"] | null = null; // as the model was told when it was drawn
  let job: AbortController | null = null;
  const drawGrid = () => {
    if (drawn === here.told || !sheet || !inverse) return;
    drawn = here.told;
    square.ariaBusy = "true";
    job?.abort();
    const mine = (job = new AbortController());
    here.decoder
      .many(manifold(SIDE, inverse), (start, pixels, n) => sheet.draw(pixels, n, start), mine.signal)
      .then(() => mine.signal.aborted || (square.ariaBusy = "false"))
      .catch((error) => {
        drawn = null;
        here.fail(error);
      });
  };

  let axes = "";
  const changed = () => {
    grid.checked = gridded();
    if (sheet && keep) sheet.canvas.hidden = keep.hidden = !gridded();
    square.classList.toggle("x-plain", !gridded());
    if (gridded()) drawGrid();
    if (axes !== String(gridded())) {
      axes = String(gridded());
      const [x, y] = scales();
      const marks = (scale: Scale) =>
        (scale === normalScale ? [1, 2, 3, 4, 5] : [0, 1, 2, 3, 4, 5, 6]) // there -2 and -3 are too near each other
          .map((i) => scale.low + (i * (scale.high - scale.low)) / 6)
          .map((value) => ({
            at: 100 * scale.place(value),
            text: String(Number(value.toPrecision(3))).replace("-", "−"),
          }));
      const [across, up] = [marks(x!), marks(y!)];
      ticks.replaceChildren(
        h(
          "div",
          { class: "x-across" },
          ...across.map(({ at, text }) => styled(h("span", {}, text), `left: ${at}%`)),
          h("b", {}, words.dimension(0)),
        ),
        h(
          "div",
          { class: "x-up" },
          ...up.map(({ at, text }) => styled(h("span", {}, text), `bottom: ${at}%`)),
          h("b", {}, words.dimension(1)),
        ),
      );
      lines.replaceChildren(
        ...across.map(({ at }) => styled(h("i", { class: "x-across" }), `left: ${at}%`)),
        ...up.map(({ at }) => styled(h("i", { class: "x-up" }), `bottom: ${at}%`)),
      );
    }
    moved();
  };
  const unsize = sized(square, (width) => {
    size = width;
    moved();
  });

  const element = h(
    "section",
    { class: "panel x-plane" },
    h(
      "header",
      { class: "x-head" },
      h("h2", {}, words.plane),
      sheet && h("label", { class: "field inline", title: words.gridHint }, grid, words.grid),
      keep,
    ),
    h("div", { class: "x-axes" }, square, ticks),
    h("p", { class: "muted small", id: "x-plane-keys" }, words.planeHint),
    read,
  );
  const close = () => {
    job?.abort();
    unsize();
  };
  return { element, moved, changed, close };
}
