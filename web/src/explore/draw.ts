// Bytes of images into canvases, and canvases into files.

import { h } from "../dom";
import { words } from "../words/explore";

export interface Shape {
  height: number;
  width: number;
  channels: number;
}

/** Whether a model of this shape makes images that a page can show. */
export const pictured = (shape: number[]) => shape.length === 3 && [1, 3, 4].includes(shape[0]!);

/** Of (C, H, W). */
export function shapeOf([channels = 1, height = 1, width = 1]: number[]): Shape {
  return { channels, height, width };
}

export const bytes = ({ height, width, channels }: Shape) => height * width * channels;

/** Sharp while an image has few pixels, smooth where it has many. */
export const look = (shape: Shape) => (Math.max(shape.height, shape.width) < 48 ? "pixels" : "smooth");

/** A canvas of rows x columns images, written without asking the browser for anything but the pixels. */
export class Frame {
  readonly canvas: HTMLCanvasElement;
  private context: CanvasRenderingContext2D;
  private image: ImageData;
  private words: Uint32Array;

  constructor(
    readonly shape: Shape,
    readonly rows = 1,
    readonly columns = 1,
    attributes: Record<string, string> = {},
  ) {
    const [width, height] = [columns * shape.width, rows * shape.height];
    this.canvas = h("canvas", { width, height, class: look(shape), ...attributes });
    // A canvas that is kept in memory, where its bytes come from.
    this.context = this.canvas.getContext("2d", { willReadFrequently: true })!;
    this.image = this.context.createImageData(width, height);
    this.words = new Uint32Array(this.image.data.buffer);
  }

  /** Draws images `start` ... of the sheet; pixels are (n, h, w, c). */
  draw(pixels: Uint8Array, n = 1, start = 0): void {
    const { height, width, channels } = this.shape;
    const stride = this.columns * width;
    let from = 0;
    for (let i = start; i < start + n; i++) {
      let to = Math.floor(i / this.columns) * height * stride + (i % this.columns) * width;
      for (let y = 0; y < height; y++, to += stride - width) {
        for (let x = 0; x < width; x++, from += channels, to++) {
          const red = pixels[from]!;
          const [green, blue] = channels < 3 ? [red, red] : [pixels[from + 1]!, pixels[from + 2]!];
          this.words[to] = 0xff000000 | (blue << 16) | (green << 8) | red; // little endian, as all browsers' machines
        }
      }
    }
    const [first, last] = [Math.floor(start / this.columns), Math.floor((start + n - 1) / this.columns)];
    this.context.putImageData(this.image, 0, 0, 0, first * height, stride, (last - first + 1) * height);
  }
}

/** Sets what CSS says of an element: the server's policy lets no style attribute through, but this. */
export function styled<E extends HTMLElement>(element: E, css: string): E {
  element.style.cssText = css;
  return element;
}

type Picture = HTMLCanvasElement | HTMLImageElement;

export function saveButton(picture: Picture, name: string): HTMLButtonElement {
  return h(
    "button",
    {
      class: "x-save",
      type: "button",
      "aria-label": words.saveOf(name),
      title: words.save,
      onclick: () => save(picture, name),
    },
    icon("save"),
  );
}

/** A figure: a picture with the button that saves it in its corner. */
export function figure(picture: Picture, name: string, caption?: string, ...over: HTMLElement[]): HTMLElement {
  return h(
    "figure",
    { class: "x-figure" },
    h("div", { class: "x-held" }, picture, ...over, saveButton(picture, name)),
    caption && h("figcaption", {}, caption),
  );
}

/** Saves a picture, scaled up to at least 256 pixels a side with its pixels sharp. */
export function save(picture: Picture, name: string): void {
  const [width, height] =
    picture instanceof HTMLImageElement
      ? [picture.naturalWidth, picture.naturalHeight]
      : [picture.width, picture.height];
  const scale = Math.max(1, Math.ceil(256 / Math.min(width, height)));
  const large = h("canvas", { width: width * scale, height: height * scale });
  const context = large.getContext("2d")!;
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, large.width, large.height);
  large.toBlob((blob) => {
    if (!blob) return;
    const address = URL.createObjectURL(blob);
    h("a", {
      href: address,
      download: `${name
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .replace(/^-|-$/g, "")}.png`,
    }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }, "image/png");
}

const ICONS = {
  save: "M8 2v8m0 0 3.2-3.2M8 10 4.8 6.8M2.5 11v2.5h11V11",
  lock: "M4.5 7.5V5a3.5 3.5 0 0 1 7 0v2.5M3.5 7.5h9v6h-9z",
  unlock: "M4.5 7.5V5a3.5 3.5 0 0 1 6.6-1.6M3.5 7.5h9v6h-9z",
  close: "m4 4 8 8m0-8-8 8",
  undo: "M6 3 2.5 6.5 6 10M2.5 6.5H10a3.5 3.5 0 0 1 0 7H6.5",
  redo: "m10 3 3.5 3.5L10 10m3.5-3.5H6a3.5 3.5 0 0 0 0 7h3.5",
  copy: "M5.5 5.5v-3h8v8h-3m-8-5h8v8h-8z",
  play: "M4.5 2.5v11l9-5.5z",
  pause: "M5 3v10m6-10v10",
};

export function icon(name: keyof typeof ICONS): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 16 16",
    width: "16",
    height: "16",
    fill: "none",
    stroke: "currentColor",
    "stroke-width": "1.5",
    "stroke-linejoin": "round",
    "stroke-linecap": "round",
    "aria-hidden": "true",
  }))
    svg.setAttribute(key, value);
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
