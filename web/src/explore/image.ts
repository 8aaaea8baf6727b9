// An image of one's own: its code, its reconstruction, its noise taken away.

import { h } from "../dom";
import { words } from "../words/explore";
import { figure, look } from "./draw";
import type { Here, Piece } from "./here";

const PATIENCE = 120; // milliseconds that the dial rests before the model is asked

export interface ImagePiece extends Piece {
  take(file: Blob): void;
}

export function imagePiece(here: Here, can: { encode: boolean; denoise: boolean }): ImagePiece {
  const file = h("input", {
    type: "file",
    accept: "image/*",
    class: "hidden-text",
    id: "x-file",
    onchange: () => {
      const chosen = file.files?.[0];
      if (chosen) take(chosen);
      file.value = "";
    },
  });
  const zone = h(
    "div",
    { class: "x-drop" },
    words.drop,
    " ",
    file,
    h("label", { for: "x-file", class: "button" }, words.choose),
  );
  const status = h("p", { class: "muted small", role: "status" });
  const encoded = h("div", { class: "x-images" });
  const denoised = h("div", { class: "x-images" });
  const output = h("output", {});
  const dial = h("input", {
    type: "range",
    min: 0,
    max: 1,
    step: 0.01,
    value: 0.3,
    "aria-label": words.noise,
    oninput: () => later(),
  });
  const noise = h(
    "div",
    { class: "x-slider x-noise", hidden: true },
    h("span", { class: "x-name" }, words.noise),
    dial,
    output,
  );
  const element = h("div", { class: "stack" }, zone, status, encoded, noise, denoised);

  const picture = (address: string, name: string) => {
    const image = h("img", { src: address, alt: name, class: look(here.shape), decoding: "sync" });
    return figure(image, name, name);
  };

  let image: Blob | null = null;
  let turn = 0; // an answer counts only while its question is the last
  const take = (blob: Blob) => {
    if (blob.type && !blob.type.startsWith("image/")) return here.fail(new Error(words.notImage));
    image = blob;
    const mine = ++turn;
    encoded.replaceChildren();
    denoised.replaceChildren();
    noise.hidden = !can.denoise;
    if (can.denoise) void denoise();
    if (!can.encode) return;
    status.textContent = words.encoding;
    here.backend.encode!(blob).then(
      ({ code, seen, reconstruction }) => {
        if (mine !== turn) return;
        const visit = h("button", { type: "button", onclick: () => here.visit(code) }, words.toCode);
        encoded.replaceChildren(picture(seen, words.seen), picture(reconstruction, words.reconstruction), visit);
        status.textContent = words.encoded;
        here.visit(code);
      },
      (error) => {
        if (mine !== turn) return;
        status.textContent = "";
        here.fail(error);
      },
    );
  };

  let timer = 0;
  let asking = false;
  let stale = false;
  const later = () => {
    output.value = dial.valueAsNumber.toFixed(2);
    clearTimeout(timer);
    timer = window.setTimeout(() => void denoise(), PATIENCE);
  };
  const denoise = async () => {
    stale = asking; // one question at a time; the dial's last place is asked for at the end
    if (asking || !image) return;
    asking = true;
    const mine = turn;
    output.value = dial.valueAsNumber.toFixed(2);
    try {
      const answer = await here.backend.denoise!(image, dial.valueAsNumber, 0);
      if (mine === turn)
        denoised.replaceChildren(
          ...(can.encode ? [] : [picture(answer.seen, words.seen)]),
          picture(answer.noisy, words.noisy),
          picture(answer.denoised, words.denoised),
        );
    } catch (error) {
      if (mine === turn) here.fail(error);
    }
    asking = false;
    if (stale) void denoise();
  };
  return { element, take, close: () => clearTimeout(timer) };
}
