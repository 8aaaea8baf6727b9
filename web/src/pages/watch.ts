// One run as it learns: its curves, its pictures through time, and what the watch finds.

import { address, type App, type Mounted, type Page } from "../app";
import { Chart } from "../chart";
import { Store } from "../curves";
import { h } from "../dom";
import { type Plan, plan, worth } from "../figures";
import { live } from "../live";
import { ask } from "../server";
import { MadeFrom } from "../made";
import type { Curves, Detail, Finding, Row, Summary } from "../types";
import { command, empty } from "../ui/controls";
import { Film } from "../ui/film";
import { figure } from "../ui/format";
import { flatten } from "../ui/settings";
import { badge, done, progress } from "../ui/state";
import { runs as runsWords } from "../words/runs";
import { shell } from "../words/shell";
import { watch as words } from "../words/watch";

export const watch: Page = async (root, app) => {
  const { runs } = await ask<{ runs: Summary[] }>("api/runs");
  const id = app.params.get("run") ?? latest(runs)?.id;
  if (id === undefined) {
    root.append(h("h1", {}, shell.pages.watch), empty(words.none, ...runsWords.commands.map((text) => command(text, app.say))));
    return { close: () => undefined };
  }
  if (!app.params.has("run")) app.replace({ run: id });
  const wall = new Wall(root, app, runs);
  await wall.show(id);
  return wall;
};

/** The run that is worth looking at first: the one that runs, or that changed last. */
function latest(runs: Summary[]): Summary | undefined {
  return runs.filter(({ ok }) => ok).sort((a, b) => Number(b.state === "running") - Number(a.state === "running") || b.changed - a.changed)[0];
}

/** The page: a choice of runs over the view of one. */
class Wall implements Mounted {
  private readonly summaries: Map<string, Summary>;
  private readonly choice = h("select", { "aria-label": words.choose, onchange: () => this.app.go("watch", { run: this.choice.value }) });
  private readonly body = h("div", { class: "stack" });
  private view: View | null = null;
  private id = "";
  private visit = 0;
  private readonly unlisten: () => void;

  constructor(
    root: HTMLElement,
    private readonly app: App,
    runs: Summary[],
  ) {
    this.summaries = new Map(runs.map((summary) => [summary.id, summary]));
    root.append(this.body);
    this.unlisten = live().onruns({
      runs: (changed) => {
        const before = this.summaries.size;
        for (const summary of changed) this.summaries.set(summary.id, summary);
        if (this.summaries.size !== before) this.choices();
        const mine = changed.find(({ id }) => id === this.id);
        if (mine?.ok && this.view) this.view.state(mine);
        else if (mine) void this.show(this.id); // it can be read now, or no longer
      },
      gone: (ids) => {
        for (const id of ids) this.summaries.delete(id);
        this.choices();
      },
      again: () => undefined, // the view asks for its run again
    });
  }

  changed(params: URLSearchParams): void {
    const id = params.get("run") ?? this.id;
    if (id !== this.id) void this.show(id);
  }

  close(): void {
    this.unlisten();
    this.view?.close();
    this.visit = -1;
  }

  async show(id: string): Promise<void> {
    this.view?.close();
    this.view = null;
    this.id = id;
    const visit = ++this.visit;
    this.choices();
    const known = this.summaries.get(id);
    try {
      if (known && !known.ok) throw new Error(known.error);
      const detail = await ask<Detail>("api/run", { run: id });
      if (visit !== this.visit) return;
      this.view = new View(this.app, id, detail, this.choice);
      this.body.replaceChildren(this.view.element);
      void this.view.begin();
    } catch (error) {
      if (visit !== this.visit) return;
      this.body.replaceChildren(
        h("div", { class: "row spread" }, h("h1", {}, id), this.choice),
        h("div", { class: "card bad stack", role: "alert" }, h("p", {}, words.bad), h("p", {}, (error as Error).message), h("div", {}, h("a", { class: "button", href: address("runs") }, shell.toRuns))));
    }
  }

  private choices(): void {
    const ids = [...this.summaries.keys()];
    if (!ids.includes(this.id)) ids.push(this.id);
    ids.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    this.choice.replaceChildren(...ids.map((id) => h("option", { value: id, selected: id === this.id }, id === "." ? runsWords.here : id)));
  }
}

class View {
  readonly element: HTMLElement;
  private readonly badge = badge();
  private readonly bar = progress();
  private readonly left = h("span", { class: "muted" });
  private readonly facts = h("dl", { class: "facts" });
  private readonly failure = h("div", { class: "card bad", role: "alert", hidden: true });
  private readonly findings = h("section", { class: "stack", "aria-label": words.findings });
  private readonly curves = h("div", { class: "stack" }, h("p", { class: "muted" }, shell.loading));
  private readonly settings = h("div", { class: "scroll" });
  private readonly explore: HTMLAnchorElement;
  private readonly samples: Film;
  private readonly reconstructions: Film;
  private readonly made: MadeFrom;
  private readonly noPictures = h("p", { class: "panel muted" }, words.noPictures);
  private store: Store | null = null;
  private plans = "";
  private charts: { chart: Chart; lines: Plan["charts"][number] }[] = [];
  private told: string | null = null;
  private unlisten: () => void = () => undefined;
  private closed = false;

  constructor(
    private readonly app: App,
    private readonly id: string,
    private detail: Detail,
    choice: HTMLElement,
  ) {
    this.made = new MadeFrom((text) => app.say(text));
    this.samples = new Film(id, words.samples, words.samplesWhat);
    this.reconstructions = new Film(id, words.reconstructions, words.reconstructionsWhat);
    this.explore = h("a", { class: "button primary", href: address("explore", { run: id }) }, words.explore);
    this.element = h("div", { class: "stack" },
      h("div", { class: "row spread" },
        h("div", { class: "row" }, h("h1", {}, id === "." ? detail.summary.recipe : id), this.badge.element),
        h("div", { class: "row" }, choice, this.explore)),
      h("div", { class: "panel stack" }, h("div", { class: "row" }, h("div", { class: "grow" }, this.bar.element), this.left), this.facts),
      this.failure,
      h("div", { class: "split watch" },
        h("div", { class: "stack" }, this.findings, this.curves),
        h("div", { class: "stack" }, this.noPictures, this.samples.element, this.reconstructions.element)),
      this.made.element,
      h("details", { class: "panel" }, h("summary", {}, words.settings), this.settings));
    this.take(detail);
    document.addEventListener("visibilitychange", this.looked);
  }

  /** Whoever comes back may have made something meanwhile. */
  private readonly looked = (): void => {
    if (document.visibilityState === "visible") void this.refresh();
  };

  /** Asks for the curves, and listens from there on. */
  async begin(): Promise<void> {
    let curves: Curves;
    try {
      curves = await ask<Curves>("api/curves", { run: this.id, points: 2000 });
    } catch (error) {
      if (!this.closed) this.curves.replaceChildren(h("div", { class: "card bad", role: "alert" }, words.curvesFailed((error as Error).message)));
      return;
    }
    if (this.closed) return;
    this.store = new Store(curves);
    this.plans = "";
    this.draw();
    this.unlisten();
    this.unlisten = live().oncurves(this.id, curves.cursor, {
      rows: (rows: Row[]) => {
        this.store!.add(rows);
        this.draw();
      },
      detail: () => void this.refresh(),
      anew: () => void this.begin(),
    });
  }

  state(summary: Summary): void {
    this.detail.summary = summary;
    const { recipe, data, state, step, steps, epoch, epochs, seconds, remaining, shape, latent, seed, started, verbs } = summary;
    this.badge.set(summary);
    this.bar.set(summary);
    this.left.textContent = [shell.progress(done(summary)), state === "running" && remaining !== null ? shell.left(remaining) : ""].filter(Boolean).join(", ");
    this.failure.hidden = state !== "failed";
    this.failure.textContent = state === "failed" ? words.failed(summary.error ?? "") : "";
    // Without a verb there is nothing to ask of the model yet.
    this.explore.hidden = !verbs.length;
    const facts: [string, string | null][] = [
      [words.recipe, recipe],
      [words.data, data],
      shape.length === 1 ? [words.points, words.dimensions(shape[0]!)] : [words.images, shape.join(" × ")],
      [words.latent, latent === null ? null : words.dimensions(latent)],
      [words.step, steps ? words.of(shell.steps(step), shell.steps(steps)) : shell.steps(step)],
      [words.epoch, words.of(figure(Math.floor(epoch * 100) / 100), String(epochs))],
      [words.time, shell.duration(seconds)],
      [words.seed, String(seed)],
      [words.begun, new Date(started * 1000).toLocaleString("en", { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" })],
    ];
    this.facts.replaceChildren(...facts.filter(([, value]) => value !== null).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  close(): void {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.looked);
    this.unlisten();
    this.samples.close();
    this.reconstructions.close();
    for (const { chart } of this.charts) chart.close();
  }

  private async refresh(): Promise<void> {
    try {
      const detail = await ask<Detail>("api/run", { run: this.id });
      if (!this.closed) this.take(detail);
    } catch {
      // The shell says when the server is gone; when it is back, this is called again.
    }
  }

  private take(detail: Detail): void {
    this.detail = detail;
    const { summary, pictures, findings, recipe, data } = detail;
    this.state(summary);
    this.samples.set(pictures.samples, summary.epochs);
    this.reconstructions.set(pictures.reconstructions, summary.epochs);
    this.noPictures.hidden = pictures.samples.length + pictures.reconstructions.length > 0;
    this.find(findings);
    this.made.set(detail);
    const rows = [...flatten(recipe), ...flatten(data, "data.json")];
    this.settings.replaceChildren(h("table", { class: "table" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, words.setting), h("th", { scope: "col" }, words.value))),
      h("tbody", {}, ...rows.map(([name, value]) => h("tr", {}, h("td", { class: "mono" }, name), h("td", { class: "mono" }, value))))));
  }

  private find(findings: Finding[]): void {
    const names = findings.map(({ name }) => name).join("; ");
    if (this.told !== null && findings.length && names !== this.told) this.app.say(words.nowFinding(names));
    this.told = names;
    const looked = [...(this.store?.series.keys() ?? [])].some((name) => name.startsWith("watch/"));
    this.findings.replaceChildren(
      ...(findings.length
        ? findings.map((finding) => this.card(finding))
        : [h("div", { class: looked ? "card good" : "card" }, looked ? words.healthy : words.unwatched)]),
    );
  }

  private card({ name, since, evidence, explanation, remedy }: Finding): HTMLElement {
    return h("article", { class: "card warn stack" },
      h("div", { class: "row spread" }, h("h2", {}, name.charAt(0).toUpperCase() + name.slice(1)), h("span", { class: "muted small" }, words.since(since))),
      h("p", {}, explanation),
      h("dl", { class: "evidence" }, ...Object.entries(evidence).flatMap(([key, { value, healthy }]) => [
        h("dt", {}, key.replaceAll("_", " ")),
        h("dd", {}, h("b", {}, figure(value, 3))),
        h("dd", { class: "muted" }, words.range(healthy)),
      ])),
      h("div", { class: "stack" }, h("span", { class: "small muted" }, words.remedy), command(remedy, (text) => this.app.say(text))));
  }

  /** Gives each chart its lines; builds them anew where there are other series than before. */
  private draw(): void {
    const store = this.store!;
    const names = worth(store);
    const plans = names.join();
    if (plans !== this.plans) {
      this.plans = plans;
      for (const { chart } of this.charts) chart.close();
      this.charts = [];
      this.curves.replaceChildren(...plan(names).map(({ title, charts }) =>
        h("section", { class: "group" }, h("h2", {}, title), h("div", { class: "charts" }, ...charts.map((lines) => {
          const chart = new Chart({ title: lines.title, what: lines.what, sync: "watch" });
          this.charts.push({ chart, lines });
          return chart.element;
        })))));
      if (!names.length) this.curves.append(empty(words.noCurves));
      this.find(this.detail.findings);
    }
    for (const { chart, lines } of this.charts) {
      chart.set(lines.lines.map((line, i) => ({ ...line, series: store.series.get(lines.series[i]!)! })));
    }
  }
}
