// Pictures of a run through its training: a slider, a play button, and the newest one while it is live.

import { h } from "../dom";
import { url } from "../server";
import type { Picture } from "../types";
import { watch as words } from "../words/watch";
import { slider } from "./controls";
import { icon } from "./icons";

const FRAME = 400; // milliseconds of a picture while it plays

export class Film {
  readonly element: HTMLElement;
  private pictures: Picture[] = [];
  private epochs = 0;
  private at = -1;
  private follows = true;
  private timer = 0;
  private readonly image = h("img", { alt: "" });
  private readonly slider = slider({ name: words.when, min: 0, max: 0, step: 1, value: 0, say: (i) => this.when(i), oninput: (i) => this.move(i) });
  private readonly play = h("button", { type: "button", class: "icon", onclick: () => this.toggle() });
  private readonly newest = h("button", { type: "button", class: "quiet", onclick: () => this.move(this.pictures.length - 1) }, words.newest);

  constructor(
    private readonly run: string,
    private readonly title: string,
    what: string,
  ) {
    this.slider.element.classList.add("grow");
    this.element = h("section", { class: "panel film stack", "aria-label": title },
      h("div", {}, h("h2", {}, title), h("p", { class: "small muted" }, what)),
      this.image,
      h("div", { class: "row" }, this.play, this.slider.element, this.newest));
    this.element.hidden = true;
    this.showPlay();
  }

  set(pictures: Picture[], epochs: number): void {
    this.pictures = pictures;
    this.epochs = epochs;
    this.element.hidden = !pictures.length;
    if (!pictures.length) return;
    this.slider.range(0, pictures.length - 1);
    this.slider.input.disabled = this.play.disabled = pictures.length < 2;
    this.show(this.follows || this.at < 0 ? pictures.length - 1 : Math.min(this.at, pictures.length - 1));
  }

  close(): void {
    clearInterval(this.timer);
  }

  private when(i: number): string {
    const picture = this.pictures[i];
    return picture ? words.epochOf(picture.epoch, this.epochs) : "";
  }

  /** The user moves it: from the last picture on it follows the newest again. */
  private move(i: number): void {
    this.stop();
    this.show(i);
  }

  private show(i: number): void {
    this.at = i;
    this.follows = i === this.pictures.length - 1;
    this.newest.disabled = this.follows;
    this.slider.set(i);
    const { file, epoch } = this.pictures[i]!;
    const source = url("api/picture", { run: this.run, file });
    if (this.image.getAttribute("src") !== source) this.image.src = source;
    this.image.alt = words.picture(this.title, epoch);
    // The neighbours are there before they are asked for.
    for (const next of [this.pictures[i + 1], this.pictures[i - 1]]) if (next) new Image().src = url("api/picture", { run: this.run, file: next.file });
  }

  private toggle(): void {
    if (this.timer) return this.stop();
    if (this.at === this.pictures.length - 1) this.show(0);
    this.timer = window.setInterval(() => {
      if (this.image.complete) this.show(Math.min(this.at + 1, this.pictures.length - 1));
      if (this.follows) this.stop();
    }, FRAME);
    this.showPlay();
  }

  private stop(): void {
    clearInterval(this.timer);
    this.timer = 0;
    this.showPlay();
  }

  private showPlay(): void {
    const name = this.timer ? words.pause : words.play;
    this.play.replaceChildren(icon(this.timer ? "pause" : "play"));
    this.play.setAttribute("aria-label", `${name}: ${this.title}`);
    this.play.title = name;
  }
}
