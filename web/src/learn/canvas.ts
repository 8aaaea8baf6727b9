// A canvas that knows its size, its theme and its axes.

import { h } from "../dom";
import { colour, onTheme } from "../ui/theme";

const FONT = "12px system-ui, sans-serif";

export interface Axis {
  from: number;
  to: number;
  log?: boolean;
  ticks: number[];
  say(value: number): string;
}

/** A canvas as wide as its parent; `draw` is called when its size or colours change, and by `redraw`. */
export class Canvas {
  readonly element = h("canvas", { role: "img" });
  readonly context = this.element.getContext("2d")!;
  width = 0;
  height = 0;
  private readonly sized: ResizeObserver;
  private readonly untheme: () => void;
  private colours = new Map<string, string>();

  /** @param aspect Width over height, of a given width. */
  constructor(
    private readonly aspect: (width: number) => number,
    private readonly draw: (canvas: Canvas) => void,
  ) {
    this.element.style.width = "100%";
    this.sized = new ResizeObserver(([entry]) => this.resize(Math.floor(entry!.contentRect.width)));
    this.sized.observe(this.element);
    this.untheme = onTheme(() => {
      this.colours.clear();
      this.redraw();
    });
  }

  private resize(width: number): void {
    if (width <= 0 || width === this.width) return;
    this.width = width;
    this.height = Math.round(width / this.aspect(width));
    const scale = devicePixelRatio || 1;
    this.element.width = Math.round(this.width * scale);
    this.element.height = Math.round(this.height * scale);
    this.element.style.height = `${this.height}px`;
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.redraw();
  }

  redraw(): void {
    if (!this.width) return;
    this.context.clearRect(0, 0, this.width, this.height);
    this.context.font = FONT;
    this.draw(this);
  }

  /** A colour of style.css. */
  colour(name: string): string {
    let found = this.colours.get(name);
    if (!found) this.colours.set(name, (found = colour(name)));
    return found;
  }

  close(): void {
    this.sized.disconnect();
    this.untheme();
  }
}

/** A rectangle with axes; `x` and `y` give the place of a value in pixels. */
export class Axes {
  constructor(
    private readonly canvas: Canvas,
    readonly box: { left: number; top: number; right: number; bottom: number },
    private readonly across: Axis,
    private readonly up: Axis,
  ) {}

  x(value: number): number {
    return this.box.left + share(this.across, value) * (this.box.right - this.box.left);
  }

  y(value: number): number {
    return this.box.bottom - share(this.up, value) * (this.box.bottom - this.box.top);
  }

  /** The value under a pixel. */
  value(pixel: number): number {
    return this.across.from + ((pixel - this.box.left) / (this.box.right - this.box.left)) * (this.across.to - this.across.from);
  }

  grid(): void {
    const { context, colour } = { context: this.canvas.context, colour: (name: string) => this.canvas.colour(name) };
    context.strokeStyle = colour("--line");
    context.fillStyle = colour("--quiet");
    context.lineWidth = 1;
    context.textBaseline = "top";
    context.textAlign = "center";
    for (const tick of this.across.ticks) {
      const x = Math.round(this.x(tick)) + 0.5;
      line(context, [x, this.box.top, x, this.box.bottom]);
      context.fillText(this.across.say(tick), x, this.box.bottom + 6);
    }
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const tick of this.up.ticks) {
      const y = Math.round(this.y(tick)) + 0.5;
      line(context, [this.box.left, y, this.box.right, y]);
      context.fillText(this.up.say(tick), this.box.left - 6, y);
    }
  }

  /** A curve through points, cut to the rectangle. */
  curve(xs: ArrayLike<number>, ys: ArrayLike<number>, colour: string, options: { width?: number; dash?: number[]; fill?: boolean } = {}): void {
    const { context } = this.canvas;
    const { left, top, right, bottom } = this.box;
    context.save();
    context.beginPath();
    context.rect(left, top - 2, right - left, bottom - top + 4);
    context.clip();
    context.beginPath();
    for (let i = 0; i < xs.length; i++) context.lineTo(this.x(xs[i]!), this.y(ys[i]!));
    if (options.fill) {
      context.lineTo(this.x(xs[xs.length - 1]!), bottom);
      context.lineTo(this.x(xs[0]!), bottom);
      context.fillStyle = colour;
      context.globalAlpha = 0.25;
      context.fill();
    } else {
      context.strokeStyle = colour;
      context.lineWidth = options.width ?? 2;
      context.lineJoin = "round";
      context.setLineDash(options.dash ?? []);
      context.stroke();
    }
    context.restore();
  }
}

function share({ from, to, log }: Axis, value: number): number {
  if (!log) return (value - from) / (to - from);
  return (Math.log10(Math.max(value, from)) - Math.log10(from)) / (Math.log10(to) - Math.log10(from));
}

function line(context: CanvasRenderingContext2D, [a, b, c, d]: [number, number, number, number]): void {
  context.beginPath();
  context.moveTo(a, b);
  context.lineTo(c, d);
  context.stroke();
}

/** The names of what is drawn, each beside its colour. */
export function legend(entries: { name: string; colour: string; mark?: "line" | "dash" | "dot" | "area" }[]): HTMLElement {
  return h("ul", { class: "learn-legend" }, ...entries.map(({ name, colour, mark }) => h("li", { "data-mark": mark ?? "line", "data-tone": colour }, name)));
}
