// Points that tools work with, by short names that addresses hold: "now" what is shown, "mean", "A" the mean of a tray,
// "A2" its second code, "m17" a point of the map.

import { h } from "../dom";
import { words } from "../words/explore";
import { Frame } from "./draw";
import type { Here } from "./here";
import { mean } from "./latent";
import { TRAYS, type Tray } from "./state";

/** The code of a point; that of the mean where there is no such point any more. */
export function pointCode(here: Here, name: string): number[] {
  if (name === "now") return here.code;
  const [, tray, place] = /^([ABC])(\d*)$/.exec(name) ?? [];
  if (tray) {
    const codes = here.state.trays[tray as Tray];
    if (codes.length) return place ? (codes[Number(place) - 1] ?? mean(codes)) : mean(codes);
  }
  const index = /^m(\d+)$/.exec(name)?.[1];
  if (index && here.chart && Number(index) < here.chart.n) return here.chart.code(Number(index));
  return here.space.mean;
}

/** A choice of a point, with its picture. */
export class Slot {
  readonly element: HTMLElement;
  private frame: Frame;
  private select: HTMLSelectElement;
  private shown = "";

  constructor(
    private here: Here,
    title: string,
    private name: () => string,
    private choose: (name: string) => void,
  ) {
    this.frame = new Frame(here.shape, 1, 1, { "aria-hidden": "true" });
    this.select = h("select", {
      "aria-label": title,
      onchange: () => {
        if (this.select.value !== "pick") return this.choose(this.select.value);
        this.select.value = this.name();
        here.pick((index) => this.choose(`m${index}`));
      },
    });
    this.element = h("div", { class: "x-slot" }, this.frame.canvas, h("label", { class: "field" }, title, this.select));
  }

  update(): void {
    const { here } = this;
    const name = this.name();
    const options: [string, string][] = [
      ["now", words.now],
      ["mean", words.mean],
    ];
    for (const tray of TRAYS) {
      const n = here.state.trays[tray].length;
      if (n > 1) options.push([tray, words.all(tray)]);
      for (let i = 0; i < n; i++) options.push([`${tray}${i + 1}`, words.inTray(tray, i)]);
    }
    if (here.chart) {
      const index = Number(/^m(\d+)$/.exec(name)?.[1] ?? NaN);
      if (index < here.chart.n)
        options.push([name, words.mapPoint(here.chart.atlas.rows[index] ?? index, here.chart.label(index))]);
      options.push(["pick", words.pickPoint]);
    }
    this.select.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
    this.select.value = options.some(([value]) => value === name) ? name : "mean";
    const code = pointCode(here, name);
    const key = JSON.stringify([code, here.told]);
    if (key === this.shown) return;
    this.shown = key;
    here.decoder.images([code]).then(
      ([pixels]) => this.shown === key && this.frame.draw(pixels!),
      (error) => here.fail(error),
    );
  }
}
