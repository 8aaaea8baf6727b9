// A chart of curves over steps: uPlot with direct labels, a readout in words, and redrawing that costs little.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { nearest } from "./curves";
import { h } from "./dom";
import type { Series } from "./types";
import { figure, short } from "./ui/format";
import { colour, onTheme } from "./ui/theme";
import { shell } from "./words/shell";

export interface Line {
  name: string;
  /** A colour of style.css, such as "--c1". */
  colour: string;
  series: Series;
  dashed?: boolean;
}

export interface ChartOptions {
  title: string;
  /** A sentence below the title. */
  what?: string;
  /** Charts of one name show the same step, and zoom together. */
  sync?: string;
  /** Whether names stand at the ends of the lines; they always stand over the chart. */
  labels?: boolean;
  height?: number;
  /** What x counts. */
  x?: string;
}

const EVERY = 250; // milliseconds between two drawings of what comes live
const FONT = "12px system-ui, sans-serif";
const LABEL = "600 12px system-ui, sans-serif";

export class Chart {
  readonly element: HTMLElement;
  private readonly plot: HTMLElement;
  private readonly readout = h("div", { class: "readout" });
  private readonly logButton = h("button", { type: "button", "aria-pressed": "false", title: shell.chart.logTitle, hidden: true, onclick: () => this.toggleLog() }, shell.chart.log);
  private uplot: uPlot | null = null;
  private lines: Line[] = [];
  private made = ""; // what the drawn chart was built for: the same lines take new values without being built anew
  private log = false;
  private visible = false;
  private dirty = false;
  private timer = 0;
  private drawn = -Infinity;
  private readonly observers: { disconnect(): void }[] = [];
  private readonly untheme: () => void;

  constructor(private readonly options: ChartOptions) {
    this.plot = h("div", { class: "plot", role: "img", tabindex: 0, onkeydown: (event: KeyboardEvent) => this.key(event), onfocus: () => this.readout.setAttribute("aria-live", "polite"), onblur: () => this.readout.removeAttribute("aria-live") });
    this.plot.style.minHeight = `${this.height}px`;
    this.name();
    this.element = h("figure", { class: "chart panel" },
      h("header", {}, h("h3", {}, options.title), this.logButton),
      options.what ? h("p", { class: "what" }, options.what) : null,
      this.readout,
      this.plot,
    );
    const seen = new IntersectionObserver(([entry]) => {
      this.visible = entry!.isIntersecting;
      if (this.visible) this.draw();
    }, { rootMargin: "200px" });
    seen.observe(this.plot);
    const sized = new ResizeObserver(([entry]) => {
      const width = Math.floor(entry!.contentRect.width);
      if (this.uplot && width > 0 && width !== this.uplot.width) this.uplot.setSize({ width, height: this.height });
      else if (!this.uplot && this.visible) this.draw();
    });
    sized.observe(this.plot);
    this.observers.push(seen, sized);
    this.untheme = onTheme(() => {
      this.made = "";
      this.dirty = true;
      this.draw();
    });
  }

  /** Shows these lines; called as often as values come. */
  set(lines: Line[]): void {
    this.lines = lines;
    this.dirty = true;
    this.name();
    if (this.timer) return;
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      requestAnimationFrame(() => this.draw());
    }, Math.max(0, this.drawn + EVERY - performance.now()));
  }

  close(): void {
    clearTimeout(this.timer);
    for (const observer of this.observers) observer.disconnect();
    this.untheme();
    this.uplot?.destroy();
    this.uplot = null;
    this.element.remove();
  }

  private get height(): number {
    return this.options.height ?? 190;
  }

  /** What screen readers say: also of a chart that is not drawn, being out of sight. */
  private name(): void {
    this.plot.setAttribute("aria-label", shell.chart.summary(this.options.title, this.lines.map(({ name, series }) => `${name} ${figure(series.value.at(-1))}`)));
  }

  private draw(): void {
    const width = Math.floor(this.plot.clientWidth);
    if (!this.visible || !this.dirty || !this.lines.length || width <= 0 || !this.element.isConnected) return;
    this.dirty = false;
    this.drawn = performance.now();
    const positive = this.lines.every(({ series }) => series.value.every((v) => v === null || v > 0));
    this.logButton.hidden = !positive && !this.log;
    if (this.log && !positive) this.log = false; // a logarithm has no place for these
    this.logButton.setAttribute("aria-pressed", String(this.log));
    const made = JSON.stringify([this.log, this.lines.map(({ name, colour, dashed }) => [name, colour, dashed])]);
    // Copies: uPlot keeps what it is given, and the series grow.
    const data = uPlot.join(this.lines.map(({ series }): uPlot.AlignedData => [series.step.slice(), series.value.slice()]));
    if (this.uplot && made === this.made) {
      const { min, max } = this.uplot.scales.x!;
      const old = this.uplot.data[0];
      const zoomed = old.length > 0 && (min! > old[0]! || max! < old[old.length - 1]!);
      this.uplot.setData(data, !zoomed);
      if (zoomed) this.uplot.redraw();
    } else {
      this.uplot?.destroy();
      this.uplot = new uPlot(this.settings(width), data, this.plot);
      this.made = made;
    }
    this.tell(null);
  }

  private settings(width: number): uPlot.Options {
    const line = colour("--line");
    const quiet = colour("--quiet");
    const axis: uPlot.Axis = { stroke: quiet, font: FONT, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
    const labelled = this.options.labels !== false && this.lines.length > 1;
    const context = document.createElement("canvas").getContext("2d")!;
    const measure = (text: string, font: string): number => {
      context.font = font;
      return context.measureText(text).width;
    };
    const right = labelled ? Math.min(width * 0.36, Math.max(...this.lines.map(({ name }) => measure(name, LABEL))) + 10) : 20;
    return {
      width,
      height: this.height,
      padding: [8, right, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { size: 7 },
        drag: { x: true, y: false },
        ...(this.options.sync ? { sync: { key: this.options.sync, scales: ["x", null] as [string, null] } } : {}),
      },
      scales: { x: { time: false }, y: this.log ? { distr: 3 } : {} },
      axes: [
        { ...axis, grid: { show: false }, size: 28, space: 64, values: (_, splits) => splits.map(short) },
        {
          ...axis,
          space: 32,
          values: (_, splits) => splits.map((v) => (v === null ? "" : Math.abs(v) >= 1e4 ? short(v) : figure(v, 6))),
          size: (_, values) => 12 + Math.ceil(Math.max(16, ...(values ?? []).map((text) => measure(text, FONT)))),
        },
      ],
      series: [
        {},
        ...this.lines.map(({ name, colour: c, dashed, series }, i): uPlot.Series => ({
          label: name,
          stroke: colour(c),
          width: series.step.length > 400 ? 1.25 : 1.75,
          ...(dashed ? { dash: [6, 4] } : {}),
          points: { size: 5, fill: colour(c), show: () => this.lines[i]!.series.step.length <= 25 }, // asked at each drawing
        })),
      ],
      hooks: {
        setCursor: [(u) => this.tell(u.cursor.idx == null ? null : u.data[0][u.cursor.idx]!)],
        draw: labelled ? [(u) => this.label(u)] : [],
      },
    };
  }

  /** Names at the ends of lines, pushed apart where they would overlap. */
  private label(u: uPlot): void {
    const ratio = uPlot.pxRatio;
    const height = 14 * ratio;
    const { left, top, width, height: inner } = u.bbox;
    const places = this.lines.flatMap(({ name, colour: c, series }) => {
      let i = series.value.length - 1;
      while (i >= 0 && series.value[i] === null) i--;
      if (i < 0) return [];
      const y = u.valToPos(series.value[i]!, "y", true);
      return [{ name, colour: colour(c), y: Math.min(top + inner - height / 2, Math.max(top + height / 2, y)) }];
    }).sort((a, b) => a.y - b.y);
    for (let i = 1; i < places.length; i++) places[i]!.y = Math.max(places[i]!.y, places[i - 1]!.y + height);
    let floor = top + inner;
    for (const place of [...places].reverse()) {
      place.y = Math.min(place.y, floor - height / 2);
      floor = place.y - height / 2;
    }
    u.ctx.save();
    u.ctx.font = LABEL.replace("12px", `${12 * ratio}px`);
    u.ctx.textBaseline = "middle";
    u.ctx.textAlign = "left";
    for (const place of places) {
      u.ctx.fillStyle = place.colour;
      u.ctx.fillText(place.name, left + width + 6 * ratio, place.y);
    }
    u.ctx.restore();
  }

  /** The values at a step, or the last ones. */
  private tell(step: number | null): void {
    const parts = this.lines.map(({ name, colour: c, series }) => {
      const i = step === null ? series.value.length - 1 : nearest(series, step);
      const value = h("b", {}, figure(i < 0 ? null : series.value[i]));
      value.style.color = `var(${c})`;
      return h("span", {}, `${name} `, value);
    });
    if (step !== null) parts.unshift(h("span", {}, `${this.options.x ?? shell.chart.step} ${step.toLocaleString("en")}`));
    this.readout.replaceChildren(...parts);
  }

  private toggleLog(): void {
    this.log = !this.log;
    this.dirty = true;
    this.draw();
  }

  private key(event: KeyboardEvent): void {
    const u = this.uplot;
    if (!u) return;
    const x = u.data[0];
    const at = u.cursor.idx ?? x.length - 1;
    const stride = event.shiftKey ? Math.max(1, Math.round(x.length / 20)) : 1;
    const to = { ArrowRight: at + stride, ArrowLeft: at - stride, Home: 0, End: x.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const value = x[Math.min(x.length - 1, Math.max(0, to))]!;
    u.setCursor({ left: u.valToPos(value, "x"), top: 10 });
  }
}
