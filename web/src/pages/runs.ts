// Every run of the folder, live.

import { address, type App, type Mounted, type Page, type Params } from "../app";
import { h } from "../dom";
import { shortName } from "../figures";
import { live } from "../live";
import { ask } from "../server";
import type { Summary } from "../types";
import { command, empty } from "../ui/controls";
import { figure } from "../ui/format";
import { icon } from "../ui/icons";
import { joinIds, splitIds } from "../ui/ids";
import { badge, done, progress } from "../ui/state";
import { runs as words } from "../words/runs";
import { shell } from "../words/shell";

const FIGURES = 4; // shown of a run
const STATES = ["running", "new", "interrupted", "failed", "bad", "finished"];
const DEFAULT = "-changed";

export const runs: Page = async (root, app) => {
  const table = new Table(root, app);
  await table.fetch();
  return table;
};

class Table implements Mounted {
  private readonly summaries = new Map<string, Summary>();
  private readonly rows = new Map<string, Row>();
  private readonly ticked = new Set<string>();
  private order: string[] = [];
  private comparison: { close(): void } | null = null;
  private comparing = "";
  private closed = false;
  private readonly unlisten: () => void;
  private readonly clock: number;

  private readonly count = h("p", { class: "muted", "aria-live": "polite" });
  private readonly filter = h("input", { type: "search", placeholder: words.filterHint, "aria-label": words.filter, oninput: () => this.ask() });
  private readonly states = h("select", { "aria-label": words.state, onchange: () => this.ask() });
  private readonly sorts = h("select", { onchange: () => this.ask(this.sorts.value) });
  private readonly heads = new Map<string, HTMLTableCellElement>();
  private readonly body = h("tbody");
  private readonly list: HTMLElement;
  private readonly nothing = h("div");
  private readonly tray = h("div", { class: "tray", hidden: true });
  private readonly all: HTMLElement;
  private readonly beside = h("div", { class: "stack" });

  constructor(
    root: HTMLElement,
    private readonly app: App,
  ) {
    const { columns } = words;
    this.states.append(h("option", { value: "" }, words.anyState), ...STATES.map((state) => h("option", { value: state }, shell.states[state])));
    for (const [key, name] of Object.entries(columns)) {
      this.sorts.append(h("option", { value: first(key) }, name));
      this.heads.set(key, h("th", { scope: "col", "aria-sort": "none" }, h("button", { type: "button", onclick: () => this.ask(this.sort === first(key) ? flip(first(key)) : first(key)) }, name)));
    }
    this.list = h("div", { class: "runs scroll" },
      h("table", { class: "table" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "tick" }, h("span", { class: "hidden-text" }, words.tickColumn)), ...this.heads.values())),
        this.body));
    this.all = h("div", { class: "stack" },
      h("div", { class: "row spread" },
        h("div", {}, h("h1", {}, words.title), this.count),
        h("div", { class: "row filters" },
          h("label", { class: "field inline sorter" }, words.sort, this.sorts),
          this.states,
          this.filter)),
      this.list, this.nothing, this.tray);
    root.append(this.all, this.beside);
    this.unlisten = live().onruns({
      runs: (changed) => this.take(changed),
      gone: (ids) => this.drop(ids),
      again: () => void this.fetch().catch(() => undefined), // the shell says so when the server is gone
    });
    this.clock = window.setInterval(() => this.rows.forEach((row, id) => row.set(this.summaries.get(id)!)), 30_000);
    addEventListener("keydown", this.key);
  }

  /** Asks for all runs. */
  async fetch(): Promise<void> {
    const { folder, runs } = await ask<{ folder: string; runs: Summary[] }>("api/runs");
    if (this.closed) return;
    this.count.title = words.folder(folder);
    const there = new Set(runs.map(({ id }) => id));
    this.drop([...this.summaries.keys()].filter((id) => !there.has(id)));
    this.take(runs);
    this.changed(this.app.params);
  }

  changed(params: Params): void {
    const wanted = params.get("compare") ?? "";
    for (const id of splitIds(wanted)) this.ticked.add(id);
    this.filter.value !== (params.get("filter") ?? "") && (this.filter.value = params.get("filter") ?? "");
    this.states.value = params.get("state") ?? "";
    this.sorts.value = this.sort;
    this.all.hidden = wanted !== "";
    if (wanted !== this.comparing) void this.compare(wanted);
    this.arrange();
  }

  close(): void {
    this.closed = true;
    this.unlisten();
    clearInterval(this.clock);
    removeEventListener("keydown", this.key);
    this.comparison?.close();
  }

  private get sort(): string {
    const kept = this.app.params.get("sort") ?? DEFAULT;
    return kept.replace(/^-/, "") in words.columns ? kept : DEFAULT;
  }

  /** Puts what is wished into the address, and shows it. */
  private ask(sort = this.sort): void {
    const wish = { sort: sort === DEFAULT ? "" : sort, filter: this.filter.value.trim() && this.filter.value, state: this.states.value };
    this.app.replace(Object.fromEntries(Object.entries(wish).filter(([, value]) => value)));
    this.changed(this.app.params);
  }

  private async compare(wanted: string): Promise<void> {
    this.comparing = wanted;
    this.comparison?.close();
    this.comparison = null;
    this.beside.replaceChildren();
    if (!wanted) return;
    scrollTo(0, 0);
    document.title = words.comparing(splitIds(wanted), shell.title);
    const { Comparison } = await import("../compare");
    if (this.closed || wanted !== this.comparing) return;
    this.comparison = new Comparison(this.beside, this.app, splitIds(wanted), (ids) => {
      this.ticked.clear();
      for (const id of ids) this.ticked.add(id);
      const params = { ...Object.fromEntries(this.app.params), compare: joinIds(ids) };
      if (ids.length < 2) this.app.go("runs", without(params, "compare"));
      else this.app.go("runs", params);
    });
  }

  private take(changed: Summary[]): void {
    for (const summary of changed) {
      this.summaries.set(summary.id, summary);
      let row = this.rows.get(summary.id);
      if (!row) {
        row = new Row(summary.id, (on) => {
          on ? this.ticked.add(summary.id) : this.ticked.delete(summary.id);
          this.showTray();
        });
        this.rows.set(summary.id, row);
      }
      row.set(summary);
    }
    this.arrange();
  }

  private drop(ids: string[]): void {
    for (const id of ids) {
      this.summaries.delete(id);
      this.ticked.delete(id);
      this.rows.get(id)?.element.remove();
      this.rows.delete(id);
    }
    if (ids.length) this.arrange();
  }

  /** Sorts and filters; touches the table only where its order is another one. */
  private arrange(): void {
    const needles = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = this.states.value;
    const shown = [...this.summaries.values()].filter((summary) => {
      if (state && (summary.ok ? summary.state : "bad") !== state) return false;
      const text = haystack(summary);
      return needles.every((needle) => text.includes(needle));
    });
    const column = this.sort.replace(/^-/, "");
    const sign = this.sort.startsWith("-") ? -1 : 1;
    // A bad folder comes last, whichever way the others are sorted by what it does not have.
    const apart = (a: Summary, b: Summary): number => (column === "id" || column === "state" ? 0 : Number(b.ok) - Number(a.ok));
    shown.sort((a, b) => apart(a, b) || sign * by(column, a, b) || a.id.localeCompare(b.id, "en", { numeric: true }));
    const order = shown.map(({ id }) => id);
    if (order.length !== this.order.length || order.some((id, i) => id !== this.order[i])) {
      const focused = document.activeElement;
      this.body.replaceChildren(...order.map((id) => this.rows.get(id)!.element));
      if (focused instanceof HTMLElement && this.body.contains(focused)) focused.focus();
      this.order = order;
    }
    for (const [key, head] of this.heads) head.setAttribute("aria-sort", key !== column ? "none" : sign < 0 ? "descending" : "ascending");
    const all = this.summaries.size;
    text(this.count, all ? words.count(order.length, all) : "");
    this.list.hidden = !order.length;
    if (order.length) this.nothing.replaceChildren();
    else if (!this.nothing.childElementCount || this.nothing.dataset.all !== String(all)) {
      this.nothing.dataset.all = String(all);
      this.nothing.replaceChildren(all ? empty(words.noMatch, h("div", {}, h("button", { type: "button", onclick: () => this.app.go("runs", {}) }, words.clearFilter))) : this.welcome());
    }
    this.showTray();
  }

  private welcome(): HTMLElement {
    return empty(words.empty, words.emptyHow, ...words.commands.map((text) => command(text, (said) => this.app.say(said))));
  }

  private showTray(): void {
    for (const [id, row] of this.rows) row.tick.checked = this.ticked.has(id);
    const chosen = [...this.ticked].filter((id) => this.summaries.get(id)?.ok);
    this.tray.hidden = !chosen.length;
    if (this.tray.hidden || this.tray.dataset.n === joinIds(chosen)) return;
    this.tray.dataset.n = joinIds(chosen);
    this.tray.replaceChildren(
      h("span", { class: "grow" }, words.chosen(chosen.length)),
      h("button", { type: "button", class: "quiet", onclick: () => {
        this.ticked.clear();
        this.showTray();
      } }, words.clear),
      h("button", { type: "button", class: "primary", disabled: chosen.length < 2, onclick: () => this.app.go("runs", { ...Object.fromEntries(this.app.params), compare: joinIds(chosen) }) }, icon("compare"), words.compare),
    );
  }

  private readonly key = (event: KeyboardEvent): void => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || (event.target as HTMLElement).matches("input, textarea, select")) return;
    event.preventDefault();
    this.filter.focus();
  };
}

/** A row of the table; `set` touches what has changed. */
class Row {
  readonly element: HTMLTableRowElement;
  readonly tick: HTMLInputElement;
  private readonly badge = badge();
  private readonly bar = progress();
  private readonly recipe = h("td");
  private readonly how = h("span", { class: "small muted" });
  private readonly progress = h("td", { class: "way" });
  private readonly numbers = h("div", { class: "figures" });
  private readonly figures = h("td", {}, this.numbers);
  private readonly findings = h("td");
  private readonly when = h("td", { class: "muted number" });
  private shown = "";

  constructor(id: string, ontick: (on: boolean) => void) {
    this.tick = h("input", { type: "checkbox", "aria-label": words.tick(id), onchange: () => ontick(this.tick.checked) });
    this.element = h("tr", {},
      h("td", { class: "tick" }, h("label", {}, this.tick)),
      h("td", { class: "id" }, h("a", { href: address("watch", { run: id }) }, id === "." ? words.here : id)),
      h("td", { class: "state" }, this.badge.element),
      this.recipe, this.progress, this.figures, this.findings, this.when);
  }

  set(summary: Summary): void {
    const ago = summary.ok ? shell.ago(Date.now() / 1000 - summary.changed) : "";
    const shown = JSON.stringify([summary, ago]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.badge.set(summary);
    this.tick.disabled = !summary.ok;
    if (!summary.ok) {
      text(this.recipe, summary.error ?? "");
      this.recipe.className = "small";
      this.recipe.colSpan = 4;
      for (const cell of [this.progress, this.figures, this.findings]) cell.remove();
      text(this.when, "");
      return;
    }
    if (this.recipe.colSpan > 1) {
      this.recipe.colSpan = 1;
      this.recipe.className = "";
      this.when.before(this.progress, this.figures, this.findings);
    }
    text(this.recipe, words.on(summary.recipe, summary.data));
    if (!this.progress.childElementCount) this.progress.append(this.how, this.bar.element);
    text(this.how, how(summary));
    this.bar.set(summary);
    const figures = last(summary);
    this.numbers.replaceChildren(...figures.map(([name, value]) => h("span", {}, h("b", {}, shortName(name)), figure(value))));
    this.findings.replaceChildren(
      ...(summary.findings.length ? [h("div", { class: "chips" }, ...summary.findings.map((name) => h("span", { class: "chip warn" }, name)))] : []),
      ...(summary.error ? [h("div", { class: "small failure" }, summary.error)] : []),
    );
    text(this.when, ago);
    this.when.title = new Date(summary.changed * 1000).toLocaleString("en");
  }
}

function text(node: HTMLElement, value: string): void {
  if (node.textContent !== value) node.textContent = value;
}

/** How a column is sorted at the first press: the newest, the furthest and the most findings first. */
function first(column: string): string {
  return ["changed", "progress", "findings"].includes(column) ? `-${column}` : column;
}

function flip(sort: string): string {
  return sort.startsWith("-") ? sort.slice(1) : `-${sort}`;
}

function without(params: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(params).filter(([key]) => key !== name));
}

function haystack(summary: Summary): string {
  const { id, recipe, data, findings, error } = summary;
  return [id, recipe, data, error, ...(findings ?? [])].join(" ").toLowerCase();
}

function how(summary: Summary): string {
  const { state, step, steps, seconds, remaining } = summary;
  if (state === "finished") return `${words.step(shell.steps(step))} ${words.took(shell.duration(seconds))}`;
  if (state === "running" && remaining !== null) return `${shell.progress(done(summary))}, ${shell.left(remaining)}`;
  return steps ? words.stepOf(shell.steps(step), shell.steps(steps)) : words.step(shell.steps(step));
}

/** The figures that say most, losses first: without speed, and without an ELBO that is the loss with the other sign. */
function last({ figures }: Summary): [string, number][] {
  return Object.entries(figures)
    .sort(([a], [b]) => Number(/(^|\/)loss$/.test(b)) - Number(/(^|\/)loss$/.test(a)))
    .filter(([name, value]) => name !== "images_per_second" && !(name === "elbo" && Math.abs(value + (figures.loss ?? Infinity)) < 1e-6 * Math.abs(value)))
    .slice(0, FIGURES);
}

function by(column: string, a: Summary, b: Summary): number {
  const of = (summary: Summary): number | string => {
    if (column === "id") return summary.id;
    if (column === "state") return STATES.indexOf(summary.ok ? summary.state : "bad");
    if (!summary.ok) return 0;
    if (column === "recipe") return `${summary.recipe} ${summary.data}`;
    if (column === "progress") return done(summary);
    if (column === "figures") return summary.figures.loss ?? last(summary)[0]?.[1] ?? Infinity;
    if (column === "findings") return summary.findings.length;
    // What runs changes all the time: by its start, so that rows stay where they are.
    return summary.state === "running" ? 1e12 + summary.started : summary.changed;
  };
  const [x, y] = [of(a), of(b)];
  return typeof x === "string" && typeof y === "string" ? x.localeCompare(y, "en", { numeric: true }) : x < y ? -1 : x > y ? 1 : 0;
}
