// Two Gaussians on a line: the discriminator saturates, the critic does not (lecture row L21).

import type { App } from "../app";
import { h } from "../dom";
import { figure } from "../ui/format";
import { play } from "../words/learn";
import { Axes, Canvas, legend } from "./canvas";
import { Playground } from "./playground";
import type { Picture } from "./player";

const words = play.line;
const FLOOR = 1e-12; // of gradients, where the axis begins
const COSTS = { minimax: "--c5", "non-saturating": "--c6", wasserstein: "--c3" };
const REAL = "--c1";
const FAKE = "--c2";
const D = "--c5";
const CRITIC = "--c3";

export class LineGame extends Playground {
  private xs: ArrayLike<number> = [];
  private latest: Picture | null = null;
  private readonly heights = new Canvas((width) => (width < 520 ? 1.3 : 2.7), () => this.drawHeights());
  private readonly gradients = new Canvas((width) => (width < 520 ? 1.4 : 3.2), () => this.drawGradients());
  private readonly at = h("dl", { class: "learn-at" });
  private axes: Axes | null = null;
  private dragged: "real" | "fake" | null = null;

  constructor(root: HTMLElement, app: App) {
    super(root, app, "line");
    const { element } = this.heights;
    element.classList.add("learn-drag");
    element.addEventListener("pointerdown", (event) => this.grasp(event));
    element.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"] as const) element.addEventListener(end, () => (this.dragged = null));
    this.stage.append(
      h("figure", { class: "panel" }, h("h2", {}, words.heights),
        legend([
          { name: words.real, colour: REAL, mark: "area" }, { name: words.fake, colour: FAKE, mark: "area" },
          { name: words.d, colour: D }, { name: words.critic, colour: CRITIC },
        ]),
        element, h("p", { class: "muted small" }, words.hint)),
      h("figure", { class: "panel" }, h("h2", {}, words.gradients),
        legend(Object.entries(COSTS).map(([cost, colour]) => ({ name: words.costs[cost]!, colour, mark: cost === "non-saturating" ? "dash" : "line" }))),
        this.gradients.element,
        h("h3", {}, words.atFakes), this.at),
    );
    this.connect();
  }

  protected build(): void {
    const bounded = this.values.bound === "clip" ? this.rate("clip", words.clip, 0.003, 1) : this.rate("penalty", words.penalty, 0.1, 100);
    const bound = this.choice("bound", words.bound, words.bounds);
    bound.addEventListener("change", () => this.build());
    this.controls.replaceChildren(
      h("h2", {}, play.settings),
      this.range("real", words.realMean, -8, 8, 0.1), this.range("real_sd", words.realWidth, 0.1, 3, 0.1),
      this.range("fake", words.fakeMean, -8, 8, 0.1), this.range("fake_sd", words.fakeWidth, 0.1, 3, 0.1),
      this.check("free", words.free),
      this.rate("lr_generator", words.lrGenerator, 1e-3, 1),
      h("hr"),
      this.choice("loss", words.loss, { minimax: words.costs.minimax!, "non-saturating": words.costs["non-saturating"]! }),
      this.rate("lr_discriminator", words.lrDiscriminator, 1e-5, 1e-1),
      h("hr"),
      bound, bounded,
      this.rate("lr_critic", words.lrCritic, 1e-5, 1e-1),
      h("hr"),
      this.among("units", words.units, [8, 16, 32, 64, 128, 256]), this.among("batch_size", words.batch, [8, 16, 32, 64, 128, 256, 512]),
      this.range("seed", play.seed, 0, 20, 1),
    );
  }

  protected scene(picture: Picture): void {
    this.xs = picture.arrays[0]!;
  }

  protected picture(picture: Picture): void {
    this.latest = picture;
    this.heights.redraw();
    this.gradients.redraw();
    const { at, fakes } = picture.facts as unknown as Facts;
    this.at.replaceChildren(...Object.entries(at).flatMap(([cost, value]) => [
      h("dt", { "data-tone": COSTS[cost as keyof typeof COSTS] }, words.costs[cost]!),
      h("dd", {}, figure(Math.abs(value), 3)),
    ]));
    const d = picture.arrays[0]!;
    const place = nearest(this.xs, fakes.discriminator![0]);
    this.heights.element.setAttribute("aria-label", words.heightsLabel(figure(d[place], 2), figure(fakes.discriminator![0], 2)));
    this.gradients.element.setAttribute("aria-label", words.gradientsLabel);
  }

  close(): void {
    super.close();
    this.heights.close();
    this.gradients.close();
  }

  /** What is under the pointer: the nearer of the two means. */
  private grasp(event: PointerEvent): void {
    if (!this.axes || !this.latest) return;
    const x = this.axes.value(event.offsetX);
    const { real, fakes } = this.latest.facts as unknown as Facts;
    const near = Math.min(...Object.values(fakes).map(([mean]) => Math.abs(x - mean)));
    this.dragged = Math.abs(x - real[0]) < near ? "real" : "fake";
    this.heights.element.setPointerCapture(event.pointerId);
    this.drag(event);
  }

  private drag(event: PointerEvent): void {
    if (!this.dragged || !this.axes) return;
    const x = Math.round(10 * Math.min(8, Math.max(-8, this.axes.value(event.offsetX)))) / 10;
    if (x === this.values[this.dragged]) return;
    this.set(this.dragged, x);
    this.build(); // the sliders follow
  }

  private drawHeights(): void {
    const canvas = this.heights;
    const across = { from: -10, to: 10, ticks: [-10, -5, 0, 5, 10], say: (value: number) => figure(value) };
    const axes = (this.axes = new Axes(canvas, { left: 34, top: 10, right: canvas.width - 10, bottom: canvas.height - 26 }, across,
      { from: -0.25, to: 1.25, ticks: [0, 0.5, 1], say: (value) => String(value) }));
    axes.grid();
    if (!this.latest) return;
    const { real, fakes } = this.latest.facts as unknown as Facts;
    const [d, critic] = this.latest.arrays;
    const free = Boolean(this.values.free);
    // Heights of the Gaussians are shares of the narrowest one's, so that all fit.
    const densities: [number, number, string, number[]][] = [[...real, REAL, []], [...fakes.discriminator!, FAKE, []]];
    if (free) densities.push([...fakes.critic!, FAKE, [4, 4]]);
    const tallest = Math.max(...densities.map(([, sd]) => 1 / Math.max(sd, 0.05)));
    for (const [mean, sd, tone, dash] of densities) {
      const width = Math.max(sd, 0.05);
      const fine = Array.from({ length: 161 }, (_, i) => mean + ((i - 80) / 20) * width);
      const ys = fine.map((x) => (0.6 / (width * tallest)) * Math.exp(-0.5 * ((x - mean) / width) ** 2) - 0.25);
      axes.curve(fine, ys, canvas.colour(tone), { fill: true });
      axes.curve(fine, ys, canvas.colour(tone), { width: 1.5, dash });
      canvas.context.fillStyle = canvas.colour(tone);
      canvas.context.textAlign = "center";
      canvas.context.textBaseline = "bottom";
      const name = tone === REAL ? words.real : free ? words.fakeOf[dash.length ? "critic" : "discriminator"]! : words.fake;
      const above = dash.length ? 20 : 4; // one name over the other, where both stand at one place
      canvas.context.fillText(name, axes.x(mean), Math.min(axes.y(ys[80]!), axes.box.bottom) - above);
    }
    const top = critic![nearest(this.xs, real[0])]!;
    const bottom = critic![nearest(this.xs, fakes.critic![0])]!;
    const size = Math.abs(top - bottom) < 1e-9 ? 1 : top - bottom;
    axes.curve(this.xs, Array.from(critic!, (f) => (f - bottom) / size), canvas.colour(CRITIC), { width: 2.5 });
    axes.curve(this.xs, d!, canvas.colour(D), { width: 2.5 });
  }

  private drawGradients(): void {
    const canvas = this.gradients;
    const powers = [-12, -9, -6, -3, 0];
    const axes = new Axes(canvas, { left: 44, top: 10, right: canvas.width - 10, bottom: canvas.height - 26 },
      { from: -10, to: 10, ticks: [-10, -5, 0, 5, 10], say: (value: number) => figure(value) },
      { from: FLOOR, to: 100, log: true, ticks: powers.map((p) => 10 ** p), say: (value) => `1e${Math.round(Math.log10(value))}`.replace("1e0", "1") });
    axes.grid();
    if (!this.latest) return;
    const { fakes } = this.latest.facts as unknown as Facts;
    const { context } = canvas;
    context.strokeStyle = canvas.colour(FAKE);
    for (const mean of new Set(Object.values(fakes).map(([mean]) => mean))) {
      context.setLineDash([4, 4]);
      context.beginPath();
      context.moveTo(axes.x(mean), axes.box.top);
      context.lineTo(axes.x(mean), axes.box.bottom);
      context.stroke();
      context.setLineDash([]);
    }
    Object.entries(COSTS).forEach(([cost, tone], i) => {
      const sizes = Array.from(this.latest!.arrays[2 + i]!, Math.abs);
      axes.curve(this.xs, sizes, canvas.colour(tone), { width: 2.5, dash: cost === "non-saturating" ? [7, 4] : [] });
    });
  }
}

interface Facts {
  real: [number, number];
  fakes: Record<string, [number, number]>;
  at: Record<string, number>;
}

/** Where in evenly spaced xs a value is nearest. */
function nearest(xs: ArrayLike<number>, value: number): number {
  const [first, last] = [xs[0]!, xs[xs.length - 1]!];
  return Math.max(0, Math.min(xs.length - 1, Math.round(((value - first) / (last - first)) * (xs.length - 1))));
}
