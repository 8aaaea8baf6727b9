// An image of one's own: its code, its reconstruction, its noise taken away. The address holds what the model sees of it.

import { h } from "../dom";
import { words } from "../words/explore";
import { figure, look } from "./draw";
import type { Here, Piece } from "./here";
import { rounded } from "./latent";

const PNG = "data:image/png;base64,";
const LONGEST = 2 ** 15; // characters of an image in the address
const PATIENCE = 120; // milliseconds that the dial rests before the model is asked

export interface ImagePiece extends Piece {
  take(file: Blob): void;
}

export function imagePiece(here: Here, denoises: boolean): ImagePiece {
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
    here.backend.range && h("p", { class: "small" }, words.eightBits(...here.backend.range)),
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
    value: here.state.noise,
    "aria-label": words.noise,
    oninput: () => later(),
    onchange: () => here.view({ noise: dial.valueAsNumber }),
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
  let shown = ""; // as the state has it
  let told = here.told; // when it was asked
  let turn = 0; // an answer counts only while its question is the last
  const ask = (blob: Blob, found: (code: Float32Array, seen: string) => void = () => {}) => {
    image = blob;
    const mine = ++turn;
    encoded.replaceChildren();
    denoised.replaceChildren();
    noise.hidden = !denoises;
    if (denoises) void denoise();
    status.textContent = words.encoding;
    told = here.told;
    here.backend.encode!(blob, told).then(
      ({ code, seen, reconstruction }) => {
        if (mine !== turn) return;
        const visit = h("button", { type: "button", onclick: () => here.visit(code) }, words.toCode);
        encoded.replaceChildren(picture(seen, words.seen), picture(reconstruction, words.reconstruction), visit);
        status.textContent = words.encoded;
        found(code, seen);
      },
      (error) => {
        if (mine === turn) status.textContent = words.failed(error.message);
      },
    );
  };
  const take = (blob: Blob) => {
    if (blob.type && !blob.type.startsWith("image/")) return void (status.textContent = words.notImage);
    ask(blob, (code, seen) => {
      const fits = seen.startsWith(PNG) && seen.length < LONGEST;
      if (!fits) status.textContent = words.encodedLarge;
      shown = fits ? written(seen) : "";
      here.step({ z: Array.from(code, rounded), turn: {}, image: shown });
    });
  };
  const clear = () => {
    turn++;
    image = null;
    status.textContent = "";
    noise.hidden = true;
    encoded.replaceChildren();
    denoised.replaceChildren();
  };
  const changed = () => {
    const turned = dial.valueAsNumber !== here.state.noise;
    dial.valueAsNumber = here.state.noise;
    if (here.state.image !== shown) {
      shown = here.state.image;
      if (shown) ask(read(shown));
      else clear();
    } else if (image && told !== here.told) ask(image);
    else if (turned && image && denoises) void denoise();
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
      const answer = await here.backend.denoise!(image, dial.valueAsNumber, 0, here.told);
      if (mine === turn)
        denoised.replaceChildren(picture(answer.noisy, words.noisy), picture(answer.denoised, words.denoised));
    } catch (error) {
      if (mine === turn) here.fail(error);
    }
    asking = false;
    if (stale) void denoise();
  };
  return { element, take, changed, close: () => clearTimeout(timer) };
}

/** A picture's bytes in letters that an address takes as they are. */
function written(png: string): string {
  return png.slice(PNG.length).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Its inverse; letters that are no bytes give a file that is no image. */
function read(text: string): Blob {
  let bytes = "";
  try {
    bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    // The server says what it is not.
  }
  return new Blob([Uint8Array.from(bytes, (letter) => letter.charCodeAt(0))], { type: "image/png" });
}
