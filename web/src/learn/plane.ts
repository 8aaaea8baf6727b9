// A GAN of points in the plane.

import type { App } from "../app";
import { Chart } from "../chart";
import { thin } from "../curves";
import { h } from "../dom";
import type { Series } from "../types";
import { figure } from "../ui/format";
import { play } from "../words/learn";
import { Canvas, legend } from "./canvas";
import { Playground } from "./playground";
import type { Picture } from "./player";
import { presets } from "./presets";

const words = play.plane;
const REAL = "--c1";
const FAKE = "--c2";
const POINTS = 800; // that a curve keeps

export class PlaneGame extends Playground {
  private real: ArrayLike<number> = [];
  private facts = { frame: 1.6, side: 1, modes: 8, charted: true };
  private latest: Picture | null = null;
  private readonly canvas = new Canvas(() => 1, () => this.draw());
  private readonly heat = document.createElement("canvas");
  private readonly shown = { heat: true, real: true, pull: false };
  private readonly found = h("output", { class: "learn-found", "aria-live": "off" });
  private readonly noHeat = h("p", { class: "muted small", hidden: true }, words.noHeat);
  private readonly charts = {
    modes: new Chart({ title: words.modesTitle, what: words.modesWhat, sync: "play", height: 120 }),
    good: new Chart({ title: words.goodTitle, what: words.goodWhat, sync: "play", height: 120 }),
    losses: new Chart({ title: words.losses, sync: "play", height: 120 }),
  };
  private series: Record<string, Series> = {};

  constructor(root: HTMLElement, app: App) {
    super(root, app, "plane");
    const layers = h("div", { class: "bar", role: "group", "aria-label": words.show }, ...(Object.keys(this.shown) as (keyof typeof this.shown)[]).map((name) => {
      const button = h("button", { type: "button", "aria-pressed": String(this.shown[name]), onclick: () => {
        this.shown[name] = !this.shown[name];
        button.setAttribute("aria-pressed", String(this.shown[name]));
        this.canvas.redraw();
      } }, words.layers[name]!);
      return button;
    }));
    this.stage.append(h("div", { class: "learn-two" },
      h("figure", { class: "panel learn-plane" },
        h("div", { class: "row spread" }, this.found, layers),
        legend([{ name: words.real, colour: REAL, mark: "dot" }, { name: words.samples, colour: FAKE, mark: "dot" }, { name: words.heatFake, colour: FAKE, mark: "area" }, { name: words.heatReal, colour: REAL, mark: "area" }]),
        this.noHeat, this.canvas.element),
      h("div", { class: "stack" }, this.charts.modes.element, this.charts.good.element, this.charts.losses.element)));
    this.connect();
  }

  protected build(): void {
    const { losses, techniques } = this.options!;
    const names = (of: Record<string, string>): Record<string, string> => Object.fromEntries(Object.keys(of).map((name) => [name, name]));
    const chosen = this.values.techniques as Record<string, number | boolean>;
    const preset = h("div", { class: "row learn-presets" }, ...Object.entries(presets).map(([name, settings]) =>
      h("button", { type: "button", onclick: () => this.take(this.parse(new URLSearchParams({ data: String(this.values.data), ...settings }))) }, words.presetNames[name]!)));
    this.controls.replaceChildren(
      h("h2", {}, play.settings),
      h("div", { class: "stack learn-tight", role: "group", "aria-label": words.presets }, h("span", { class: "field" }, words.presets), preset),
      this.choice("data", words.data, { ring: "ring", grid: "grid" }),
      this.choice("loss", words.loss, names(losses), losses[String(this.values.loss)]),
      h("fieldset", { class: "learn-techniques" }, h("legend", { class: "field" }, words.techniques),
        ...Object.entries(techniques).map(([name, { value, says }]) => this.technique(name, value, says, chosen))),
      this.range("k", words.k, 1, 20, 1),
      this.rate("lr_discriminator", words.lrDiscriminator, 1e-5, 1),
      this.rate("lr_generator", words.lrGenerator, 1e-5, 1),
      this.among("batch_size", words.batch, [16, 32, 64, 128, 256, 512]),
      this.choice("optimizer", words.optimizer, { adam: "Adam", rmsprop: "RMSProp", sgd: "SGD" }),
      this.range("momentum", words.momentum, 0, 0.95, 0.05),
      h("details", {}, h("summary", {}, words.more), h("div", { class: "stack" },
        this.choice("prior", words.prior, words.priors),
        this.among("latent_dim", words.latent, [1, 2, 3, 4, 6, 8, 16, 32, 64]),
        this.among("layers", words.layersOf, [1, 2, 3, 4, 5]), this.among("units", words.units, [8, 16, 32, 64, 128, 256]),
        this.normed(), this.range("seed", play.seed, 0, 20, 1))),
    );
  }

  private normed(): HTMLElement {
    const box = h("input", { type: "checkbox", checked: this.values.norm === "batch", onchange: () => this.set("norm", box.checked ? "batch" : "none") });
    return h("label", { class: "row learn-check" }, box, words.norm);
  }

  private technique(name: string, usual: number | boolean, says: string, chosen: Record<string, number | boolean>): HTMLElement {
    const on = name in chosen;
    const number = typeof usual === "number" ? h("input", {
      type: "number", step: "any", min: 0, value: on ? String(chosen[name]) : String(usual), "aria-label": words.valueOf(name), disabled: !on,
      onchange: () => change(),
    }) : null;
    const box = h("input", { type: "checkbox", checked: on, onchange: () => {
      if (number) number.disabled = !box.checked;
      change();
    } });
    const change = (): void => {
      const { [name]: _, ...rest } = this.values.techniques as Record<string, number | boolean>;
      this.set("techniques", box.checked ? { ...rest, [name]: number ? Number(number.value) : true } : rest);
    };
    return h("div", { class: "learn-technique", title: says }, h("label", { class: "row learn-check" }, box, name), number);
  }

  protected scene(picture: Picture): void {
    this.real = picture.arrays[0]!;
    this.facts = picture.facts as unknown as typeof this.facts;
    this.noHeat.hidden = this.facts.charted;
    this.series = {};
    this.heat.width = this.heat.height = this.facts.side;
  }

  protected picture(picture: Picture): void {
    this.latest = picture;
    const { step, losses, modes, good } = picture.facts as unknown as { step: number; losses: Record<string, number>; modes: number; good: number };
    const { modes: all } = this.facts;
    this.found.replaceChildren(h("b", {}, words.modes(modes, all)), ` · ${words.good(`${figure(100 * good, 2)} %`)}`);
    this.canvas.element.setAttribute("aria-label", words.pictureLabel(words.modes(modes, all), step.toLocaleString("en")));
    this.add("modes", step, modes);
    this.add("good", step, 100 * good);
    this.add("D", step, losses["discriminator/loss"] ?? null);
    this.add("G", step, losses["generator/loss"] ?? null);
    const line = (name: string, label: string, colour: string) => ({ name: label, colour, series: this.series[name]! });
    this.charts.modes.set([line("modes", words.modesLine, "--c3")]);
    this.charts.good.set([line("good", words.goodLine, "--c3")]);
    this.charts.losses.set([line("D", words.lossD, "--c5"), line("G", words.lossG, "--c2")]);
    this.canvas.redraw();
  }

  private add(name: string, step: number, value: number | null): void {
    const series = (this.series[name] ??= { step: [], value: [] });
    if (series.step.at(-1) === step) return;
    series.step.push(step);
    series.value.push(value);
    if (series.step.length > 2 * POINTS) this.series[name] = thin(series, POINTS);
  }

  close(): void {
    super.close();
    this.canvas.close();
    for (const chart of Object.values(this.charts)) chart.close();
  }

  private draw(): void {
    const { canvas } = this;
    const { context, width } = canvas;
    const { frame, side } = this.facts;
    const place = (value: number): number => ((value / frame + 1) / 2) * width;
    const levels = this.latest?.arrays[2];
    if (levels && this.shown.heat && levels.length === side * side) {
      const image = this.heat.getContext("2d")!;
      image.putImageData(tinted(levels, side, rgb(canvas.colour(FAKE)), rgb(canvas.colour("--panel")), rgb(canvas.colour(REAL))), 0, 0);
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.heat, 0, 0, width, width);
    }
    const dots = (points: ArrayLike<number>, colour: string, size: number, alpha: number): void => {
      context.fillStyle = colour;
      context.globalAlpha = alpha;
      for (let i = 0; i < points.length; i += 2) context.fillRect(place(points[i]!) - size / 2, place(-points[i + 1]!) - size / 2, size, size);
      context.globalAlpha = 1;
    };
    const size = width < 420 ? 2 : 3;
    if (this.shown.real) dots(this.real, canvas.colour(REAL), size, 0.7);
    if (!this.latest) return;
    const [samples, pull] = this.latest.arrays;
    dots(samples!, canvas.colour(FAKE), size, 0.85);
    if (!this.shown.pull) return;
    context.strokeStyle = canvas.colour("--text");
    context.lineWidth = 1.2;
    context.beginPath();
    for (let i = 0; i < pull!.length; i += 2) {
      const [x, y] = [samples![i]!, samples![i + 1]!];
      context.moveTo(place(x), place(-y));
      context.lineTo(place(x + pull![i]!), place(-y - pull![i + 1]!));
    }
    context.stroke();
  }
}

/** Levels as colours: 0 the first, the middle the second, 255 the third; pale, so that points stand out. */
function tinted(levels: ArrayLike<number>, side: number, low: number[], middle: number[], high: number[]): ImageData {
  const image = new ImageData(side, side);
  for (let i = 0; i < levels.length; i++) {
    const t = levels[i]! / 127.5 - 1;
    const end = t < 0 ? low : high;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = middle[c]! + 0.45 * Math.abs(t) * (end[c]! - middle[c]!);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

function rgb(colour: string): number[] {
  return (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}
