// What is done with points: arithmetic, interpolation, the plane of three. Each draws itself while it is the open tool.

import { h } from "../dom";
import { words } from "../words/explore";
import { Frame, bytes, figure, icon } from "./draw";
import type { Here, Piece } from "./here";
import { arithmetic, path, pixelArithmetic, planeThrough, rounded } from "./latent";
import { Slot, pointCode } from "./points";
import { Sheet } from "./sheet";
import { SIDES } from "./state";

const NOISE = 0.25; // as Radford et al. add
const STRIP = 10;
const LOOP = 40; // images of the loop, one way
const FRAMES = 20; // of them a second

export function arithmeticPiece(here: Here): Piece {
  const sheet = new Sheet(here, 3, 3, words.inCodes, words.neighbour, words.inCodesHint);
  const pixels = new Frame(here.shape);
  const hint = h("p", { class: "empty" }, words.arithmeticHint);
  const again = h(
    "button",
    { type: "button", onclick: () => here.step({ seed: here.state.seed + 1 }) },
    words.otherNoise,
  );
  const visit = h(
    "button",
    { type: "button", class: "primary", onclick: () => here.visit(codes()[4]!) },
    words.toResult,
  );
  const result = h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "x-results" },
      h("div", {}, h("h3", {}, words.inCodes), sheet.element),
      h("div", {}, h("h3", {}, words.inPixels), figure(pixels.canvas, words.inPixels, words.inPixelsHint)),
    ),
    h("div", { class: "row" }, visit, again),
  );
  const codes = () => {
    const { A, B, C } = here.state.trays;
    return arithmetic(A, B, C, NOISE, here.state.seed).map((code) => code.map(rounded));
  };
  let shown = "";
  const changed = () => {
    const { A, B, C } = here.state.trays;
    const ready = A.length > 0 && B.length > 0 && C.length > 0;
    hint.hidden = ready;
    result.hidden = !ready;
    const key = JSON.stringify([A, B, C, here.state.seed, here.told]);
    if (!ready || key === shown) return;
    shown = key;
    sheet.show(codes());
    Promise.all([A, B, C].map((tray) => here.decoder.images(tray))).then(
      ([a, b, c]) => key === shown && pixels.draw(pixelArithmetic(a!, b!, c!)),
      (error) => here.fail(error),
    );
  };
  return { element: h("div", {}, hint, result), changed, charted: changed, close: () => sheet.close() };
}

export function betweenPiece(here: Here): Piece {
  const slots = [words.from, words.to].map(
    (title, i) =>
      new Slot(
        here,
        title,
        () => here.state.ends[i]!,
        (name) => here.step({ ends: here.state.ends.map((old, j) => (j === i ? name : old)) }),
      ),
  );
  const kinds = (["linear", "spherical"] as const).map((kind) => ({
    kind,
    button: h(
      "button",
      { type: "button", title: kind === "spherical" ? words.sphericalHint : null, onclick: () => here.step({ kind }) },
      words[kind],
    ),
  }));
  const sheet = new Sheet(here, 1, STRIP, words.strip, (i) => words.step(i, STRIP));
  const loop = new Frame(here.shape, 1, 1, { role: "img", "aria-label": words.loop });
  const toggle = h("button", { type: "button", class: "icon", onclick: () => play(!playing) });
  const position = h("input", {
    type: "range",
    min: 0,
    max: LOOP - 1,
    step: 1,
    "aria-label": words.loop,
    oninput: () => {
      play(false);
      draw(position.valueAsNumber);
    },
  });
  const element = h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "row" },
      ...slots.map((slot) => slot.element),
      h("div", { class: "bar", role: "group" }, ...kinds.map(({ button }) => button)),
    ),
    sheet.element,
    h("div", { class: "x-loop" }, figure(loop.canvas, words.loop), toggle, position),
  );

  let images: Uint8Array | null = null;
  let playing = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let asked = 0;
  let began = performance.now();
  let drawn = -1;
  const draw = (i: number) => {
    if (!images || i === drawn) return;
    drawn = i;
    loop.draw(images.subarray(i * bytes(here.shape)));
    position.valueAsNumber = i;
  };
  const turn = (now: number) => {
    asked = 0;
    if (!playing || !element.isConnected || element.closest("[hidden]")) return;
    const place = Math.floor(((now - began) / 1000) * FRAMES) % (2 * LOOP - 2);
    draw(Math.max(0, place < LOOP ? place : 2 * LOOP - 2 - place));
    asked = requestAnimationFrame(turn);
  };
  const play = (on: boolean) => {
    if (on && !playing) began = performance.now() - (Math.max(0, drawn) / FRAMES) * 1000;
    playing = on;
    toggle.replaceChildren(icon(on ? "pause" : "play"));
    toggle.setAttribute("aria-label", on ? words.pause : words.play);
    toggle.title = on ? words.pause : words.play;
    if (on && !asked) asked = requestAnimationFrame(turn);
  };
  play(playing);

  let shown = "";
  let job: AbortController | null = null;
  const changed = () => {
    for (const slot of slots) slot.update();
    for (const { kind, button } of kinds) button.setAttribute("aria-pressed", String(kind === here.state.kind));
    const [a, b] = here.state.ends.map((name) => pointCode(here, name));
    const key = JSON.stringify([a, b, here.state.kind, here.told]);
    if (playing && !asked) asked = requestAnimationFrame(turn);
    if (key === shown) return;
    shown = key;
    sheet.show(path(a!, b!, STRIP, here.state.kind).map((code) => code.map(rounded)));
    job?.abort();
    const mine = (job = new AbortController());
    const fresh = new Uint8Array(LOOP * bytes(here.shape));
    here.decoder
      .many(
        path(a!, b!, LOOP, here.state.kind),
        (start, pixels) => fresh.set(pixels, start * bytes(here.shape)),
        mine.signal,
      )
      .then(() => {
        if (mine.signal.aborted) return;
        images = fresh;
        const at = Math.max(0, drawn);
        drawn = -1;
        draw(at);
      })
      .catch((error) => here.fail(error));
  };
  const close = () => {
    job?.abort();
    sheet.close();
    playing = false;
    cancelAnimationFrame(asked);
  };
  return { element, changed, charted: changed, close };
}

export function threePiece(here: Here): Piece {
  const slots = words.corner.map(
    (title, i) =>
      new Slot(
        here,
        title,
        () => here.state.corners[i]!,
        (name) => here.step({ corners: here.state.corners.map((old, j) => (j === i ? name : old)) }),
      ),
  );
  const side = h(
    "select",
    { "aria-label": words.side, onchange: () => here.step({ side: Number(side.value) }) },
    ...SIDES.map((n) => h("option", { value: n }, `${n} × ${n}`)),
  );
  const place = h("div", { class: "x-three" });
  const element = h(
    "div",
    { class: "stack" },
    h("p", { class: "muted small" }, words.threeHint),
    h("div", { class: "row" }, ...slots.map((slot) => slot.element), h("label", { class: "field" }, words.side, side)),
    place,
  );
  let sheet: Sheet | null = null;
  let shown = "";
  let drawnSide = 0;
  const changed = () => {
    for (const slot of slots) slot.update();
    const n = here.state.side;
    side.value = String(n);
    const corners = here.state.corners.map((name) => pointCode(here, name));
    const key = JSON.stringify([corners, n, here.told]);
    if (key === shown) return;
    shown = key;
    if (!sheet || n !== drawnSide) {
      sheet?.close();
      drawnSide = n;
      const labels = new Map([0, n - 1, n * (n - 1)].map((cell, i) => [cell, `: ${words.corner[i]}`]));
      sheet = new Sheet(here, n, n, words.threeName, (i) =>
        words.cell(Math.floor(i / n) + 1, (i % n) + 1, labels.get(i) ?? ""),
      );
      place.replaceChildren(sheet.element);
    }
    sheet.show(planeThrough(corners[0]!, corners[1]!, corners[2]!, n).map((code) => code.map(rounded)));
  };
  return { element, changed, charted: changed, close: () => sheet?.close() };
}
