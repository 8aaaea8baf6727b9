// What both live games share: the line to the server, start and pause, settings in the address, and their controls.

import type { App, Mounted, Params } from "../app";
import { h } from "../dom";
import { slider } from "../ui/controls";
import { icon } from "../ui/icons";
import { figure } from "../ui/format";
import { learn, play } from "../words/learn";
import { type Options, type Picture, Player } from "./player";

type Value = string | number | boolean | Record<string, number | boolean>;
type Values = Record<string, Value>;

export abstract class Playground implements Mounted {
  protected values: Values = {};
  protected defaults: Values = {};
  protected options: Options | null = null;
  /** Where pictures and charts go, and where the controls go. */
  protected readonly stage = h("div", { class: "stack" });
  protected readonly controls = h("div", { class: "stack" });
  private player: Player | null = null;
  private running = false;
  private broken = false; // refused or ended: nothing is played now
  private readonly startButton = h("button", { type: "button", class: "primary learn-start", disabled: true, onclick: () => this.toggle() });
  private readonly stepButton = h("button", { type: "button", disabled: true, onclick: () => this.steps(1) }, play.step);
  private readonly tenButton = h("button", { type: "button", disabled: true, onclick: () => this.steps(10) }, play.steps10);
  private readonly againButton = h("button", { type: "button", disabled: true, onclick: () => this.again() }, play.again);
  private readonly state = h("output", { class: "muted small learn-state" }, play.waiting);
  private readonly trouble = h("div", { class: "card bad stack", role: "alert", hidden: true });
  private readonly onkey = (event: KeyboardEvent): void => this.key(event);

  constructor(
    root: HTMLElement,
    protected readonly app: App,
    private readonly kind: "line" | "plane",
  ) {
    const { title, text } = play[kind];
    root.append(
      h("header", { class: "stack learn-head" }, h("a", { href: "#/learn", class: "small" }, `← ${learn.toList}`), h("h1", {}, title), h("p", { class: "muted" }, text)),
      h("div", { class: "split learn-play" },
        h("div", { class: "stack" },
          h("div", { class: "row learn-bar", title: play.keys }, this.startButton, this.stepButton, this.tenButton, this.againButton, this.state),
          this.trouble, this.stage),
        h("section", { class: "panel stack", "aria-label": play.settings }, this.controls)),
    );
    this.button();
    addEventListener("keydown", this.onkey);
  }

  /** Connects; for the first time, and after the server has ended it. */
  protected connect(): void {
    this.player?.close();
    this.player = new Player({
      options: (options) => {
        const first = !this.options;
        this.options = options;
        this.defaults = options.games[this.kind] as Values;
        if (first) this.read(this.app.params);
        this.broken = false;
        this.trouble.hidden = true;
        for (const button of [this.startButton, this.stepButton, this.tenButton, this.againButton]) button.disabled = false;
        this.say(true);
        this.player?.say({ run: this.running });
      },
      scene: (picture) => {
        this.broken = false;
        this.trouble.hidden = true;
        this.scene(picture);
      },
      picture: (picture) => {
        const { step, speed } = picture.facts;
        this.state.textContent = play.state(step.toLocaleString("en"), speed ? Math.round(speed).toLocaleString("en") : "0");
        this.picture(picture);
      },
      refused: (message) => this.complain(h("h2", {}, play.refused), h("p", {}, message)),
      ended: (message) => {
        this.player = null;
        this.running = false;
        this.button();
        const text = message === null ? play.offline : message ? `${message[0]!.toUpperCase()}${message.slice(1)}` : play.cut;
        this.complain(h("p", {}, text), h("div", {}, h("button", { type: "button", onclick: () => this.connect() }, play.restart)));
        for (const button of [this.startButton, this.stepButton, this.tenButton, this.againButton]) button.disabled = true;
        this.state.textContent = "";
      },
    });
  }

  /** Makes the controls; called with every new set of values. */
  protected abstract build(): void;
  protected abstract scene(picture: Picture): void;
  protected abstract picture(picture: Picture): void;

  changed(params: Params): void {
    if (!this.options) return;
    const before = JSON.stringify(this.values);
    this.read(params);
    if (JSON.stringify(this.values) !== before) this.say(true);
  }

  close(): void {
    removeEventListener("keydown", this.onkey);
    this.player?.close();
  }

  /** A setting, its place in the address, and the word to the server. */
  protected set(name: string, value: Value): void {
    this.values = { ...this.values, [name]: value };
    this.write();
    this.say(false);
  }

  protected take(values: Values): void {
    this.values = { ...this.values, ...values };
    this.build();
    this.write();
    this.say(true);
  }

  /** The values of an address; what is not in it is as the server has it. */
  protected parse(params: Params): Values {
    const values = structuredClone(this.defaults);
    delete values.kind;
    for (const [name, usual] of Object.entries(values)) {
      const text = params.get(name);
      if (text === null) continue;
      if (typeof usual === "object") values[name] = parseTechniques(text);
      else values[name] = typeof usual === "number" ? Number(text) : typeof usual === "boolean" ? text === "true" : text;
    }
    return values;
  }

  private read(params: Params): void {
    this.values = this.parse(params);
    this.build();
  }

  private write(): void {
    const differ = Object.entries(this.values).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(this.defaults[name]));
    this.app.replace(Object.fromEntries(differ.map(([name, value]) => [name, typeof value === "object" ? writeTechniques(value) : String(value)])));
  }

  private say(again: boolean): void {
    this.player?.say({ settings: { ...this.values, kind: this.kind }, again });
  }

  private toggle(): void {
    this.running = !this.running;
    this.player?.say({ run: this.running });
    this.button();
  }

  private steps(n: number): void {
    if (this.running) this.toggle();
    this.player?.say({ steps: n });
  }

  private again(): void {
    this.say(true);
  }

  private button(): void {
    this.startButton.replaceChildren(icon(this.running ? "pause" : "play"), this.running ? play.pause : play.start);
  }

  private complain(...what: HTMLElement[]): void {
    this.broken = true;
    this.trouble.replaceChildren(...what);
    this.trouble.hidden = false;
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || this.startButton.disabled || this.broken) return;
    if (target.closest("input:not([type=range]), select, textarea, button, a, summary, dialog")) return;
    const todo = { " ": () => this.toggle(), ".": () => this.steps(1), r: () => this.again() }[event.key];
    if (!todo) return;
    event.preventDefault();
    todo();
  }

  // ---- controls, each of the setting of its name ----

  protected choice(name: string, label: string, entries: Record<string, string>, title?: string): HTMLElement {
    const select = h("select", { title, onchange: () => this.set(name, select.value) }, ...Object.entries(entries).map(([value, text]) => h("option", { value, selected: value === this.values[name] }, text)));
    return h("label", { class: "field" }, label, select);
  }

  protected check(name: string, label: string): HTMLElement {
    const box = h("input", { type: "checkbox", checked: Boolean(this.values[name]), onchange: () => this.set(name, box.checked) });
    return h("label", { class: "row learn-check" }, box, label);
  }

  protected range(name: string, label: string, min: number, max: number, step: number): HTMLElement {
    return slider({ name: label, min, max, step, value: Number(this.values[name]), say: (value) => figure(value), oninput: (value) => this.set(name, value) }).element;
  }

  /** A slider over powers of ten, with two digits of value. */
  protected rate(name: string, label: string, min: number, max: number): HTMLElement {
    const value = (power: number): number => Number((10 ** power).toPrecision(2));
    return slider({
      name: label, min: Math.log10(min), max: Math.log10(max), step: 0.02, value: Math.log10(Number(this.values[name])),
      say: (power) => figure(value(power)), oninput: (power) => this.set(name, value(power)),
    }).element;
  }

  /** A slider over a few whole numbers. */
  protected among(name: string, label: string, values: number[]): HTMLElement {
    const at = (value: number): number => values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best]! - value) ? i : best), 0);
    return slider({
      name: label, min: 0, max: values.length - 1, step: 1, value: at(Number(this.values[name])),
      say: (i) => String(values[i]), oninput: (i) => this.set(name, values[i]!),
    }).element;
  }
}

/** "r1/0.005,ema/0.99"; "none" is none. */
function parseTechniques(text: string): Record<string, number | boolean> {
  if (text === "none") return {};
  return Object.fromEntries(text.split(",").map((part) => {
    const [name = "", value = "true"] = part.split("/");
    return [name, value === "true" ? true : Number(value)];
  }));
}

function writeTechniques(techniques: Record<string, number | boolean>): string {
  return Object.entries(techniques).map(([name, value]) => `${name}/${value}`).join(",") || "none";
}
