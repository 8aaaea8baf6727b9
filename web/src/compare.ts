// Two or more runs beside each other: curves over each other, the last pictures, and the settings that differ.

import { address, type App } from "./app";
import { Chart, type Line } from "./chart";
import { Store } from "./curves";
import { h } from "./dom";
import { parts, plan, worth } from "./figures";
import { live } from "./live";
import { ask, url } from "./server";
import type { Curves, Detail, Picture } from "./types";
import { empty } from "./ui/controls";
import { icon } from "./ui/icons";
import { flatten } from "./ui/settings";
import { seriesColour } from "./ui/theme";
import { compare as words } from "./words/runs";
import { splits } from "./words/watch";

interface Member {
  id: string;
  colour: string;
  dashed: boolean;
  detail: Detail;
  store: Store;
}

export class Comparison {
  private members: Member[] = [];
  private charts: { chart: Chart; series: string }[] = [];
  private made = "";
  private closed = false;
  private readonly unlisten: (() => void)[] = [];
  private readonly curves = h("div", { class: "stack" });
  private readonly samples = h("div", { class: "beside" });
  private readonly reconstructions = h("div", { class: "beside" });
  private readonly settings = h("div", { class: "stack" });
  private everything = false;

  /** @param onchoose Called with the runs that are left when one is taken out. */
  constructor(
    private readonly root: HTMLElement,
    private readonly app: App,
    private readonly ids: string[],
    private readonly onchoose: (ids: string[]) => void,
  ) {
    void this.begin();
  }

  close(): void {
    this.closed = true;
    for (const end of this.unlisten) end();
    for (const { chart } of this.charts) chart.close();
  }

  private async begin(): Promise<void> {
    const params = Object.fromEntries([...this.app.params].filter(([name]) => name !== "compare"));
    const back = h("a", { class: "button", href: address("runs", params) }, words.all);
    this.root.append(h("div", { class: "row spread" }, h("h1", {}, words.title), back));
    const troubles: string[] = [];
    const found = await Promise.all(this.ids.map(async (id, i): Promise<[Member, number] | null> => {
      try {
        const [detail, curves] = await Promise.all([ask<Detail>("api/run", { run: id }), ask<Curves>("api/curves", { run: id, points: 2000 })]);
        return [{ id, colour: seriesColour(i), dashed: i >= 8, detail, store: new Store(curves) }, curves.cursor];
      } catch (error) {
        troubles.push(words.gone(id, (error as Error).message));
        return null;
      }
    }));
    if (this.closed) return;
    for (const text of troubles) this.root.append(h("div", { class: "card bad", role: "alert" }, text));
    const there = found.filter((pair) => pair !== null);
    this.members = there.map(([member]) => member);
    if (this.members.length < 2) this.root.append(empty(words.few));
    if (!this.members.length) return;
    const pictures = h("div", { class: "pictures" }, this.samples, this.reconstructions);
    pictures.style.setProperty("--runs", String(this.members.length));
    this.root.append(
      h("ul", { class: "legend" }, ...this.members.map(({ id, colour }) => {
        const item = h("li", {}, h("a", { href: address("watch", { run: id }) }, id),
          h("button", { type: "button", class: "quiet icon", "aria-label": words.remove(id), title: words.remove(id), onclick: () => this.onchoose(this.ids.filter((other) => other !== id)) }, icon("close")));
        item.style.setProperty("--tone", `var(${colour})`);
        return item;
      })),
      pictures,
      h("section", { class: "panel" }, h("h2", {}, words.settings), this.settings),
      this.curves,
    );
    this.set();
    this.picture();
    this.draw();
    for (const [member, cursor] of there) {
      this.unlisten.push(live().oncurves(member.id, cursor, {
        rows: (rows) => {
          member.store.add(rows);
          this.draw();
        },
        detail: () => void this.refresh(member),
        anew: () => void this.renew(member),
      }));
    }
  }

  private async refresh(member: Member): Promise<void> {
    const detail = await ask<Detail>("api/run", { run: member.id }).catch(() => null);
    if (this.closed || !detail) return;
    member.detail = detail;
    this.picture();
  }

  private async renew(member: Member): Promise<void> {
    const curves = await ask<Curves>("api/curves", { run: member.id, points: 2000 }).catch(() => null);
    if (this.closed || !curves) return;
    member.store = new Store(curves);
    this.draw();
  }

  private draw(): void {
    const names = [...new Set(this.members.flatMap(({ store }) => worth(store)))];
    if (names.join() !== this.made) {
      this.made = names.join();
      for (const { chart } of this.charts) chart.close();
      this.charts = [];
      const one = plan(names).flatMap(({ title, charts }) => ({ title, charts: charts.flatMap((chart) => chart.series.map((series, i) => {
        const where = splits[parts(series)[0]] ?? parts(series)[0];
        const name = chart.lines[i]!.name;
        const title = name === where || name.endsWith(`, ${where}`) ? chart.title : `${chart.title}: ${name}`;
        return { series, title: words.series(title, where), what: chart.what };
      })) }));
      this.curves.replaceChildren(...one.map((group) => h("section", { class: "group" }, h("h2", {}, group.title), h("div", { class: "charts" }, ...group.charts.map(({ series, title, what }) => {
        const chart = new Chart({ title, what, sync: "compare", labels: false });
        this.charts.push({ chart, series });
        return chart.element;
      })))));
      if (!names.length) this.curves.append(empty(words.noCurves));
    }
    for (const { chart, series } of this.charts) {
      chart.set(this.members.flatMap(({ id, colour, dashed, store }): Line[] => {
        const found = store.series.get(series);
        return found ? [{ name: id, colour, dashed, series: found }] : [];
      }));
    }
  }

  private picture(): void {
    const show = (root: HTMLElement, title: string, of: (detail: Detail) => Picture[]): void => {
      root.hidden = this.members.every(({ detail }) => !of(detail).length);
      root.replaceChildren(...this.members.map(({ id, colour, detail }) => {
        const picture = of(detail).at(-1);
        const name = h("h3", {}, id);
        name.style.color = `var(${colour})`;
        return h("figure", { class: "panel film stack" },
          h("figcaption", {}, name, h("span", { class: "small muted" }, picture ? `${title}, ${words.epoch(picture.epoch)}` : title)),
          picture ? h("img", { src: url("api/picture", { run: id, file: picture.file }), alt: `${title}: ${id}` }) : h("p", { class: "muted" }, words.noPicture));
      }));
    };
    show(this.samples, words.samples, ({ pictures }) => pictures.samples);
    show(this.reconstructions, words.reconstructions, ({ pictures }) => pictures.reconstructions);
  }

  private set(): void {
    const settings = this.members.map(({ detail }) => new Map(flatten(detail.recipe)));
    const names = [...new Set(settings.flatMap((map) => [...map.keys()]))];
    const differ = new Set(names.filter((name) => new Set(settings.map((map) => map.get(name))).size > 1));
    const shown = names.filter((name) => this.everything || differ.has(name));
    const all = h("input", { type: "checkbox", checked: this.everything, onchange: () => {
      this.everything = all.checked;
      this.set();
    } });
    this.settings.replaceChildren(
      differ.size || this.everything ? "" : h("p", { class: "muted" }, words.same),
      shown.length ? h("div", { class: "scroll tall", tabindex: 0, role: "group", "aria-label": words.settings }, h("table", { class: "table" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, words.setting), ...this.members.map(({ id, colour }) => {
          const head = h("th", { scope: "col" }, id);
          head.style.color = `var(${colour})`;
          return head;
        }))),
        h("tbody", {}, ...shown.map((name) => h("tr", {}, h("th", { scope: "row", class: "mono" }, name),
          ...settings.map((map) => h("td", { class: differ.has(name) ? "mono differs" : "mono" }, map.get(name) ?? words.absent))))))) : "",
      h("label", { class: "field inline" }, all, words.showAll),
    );
  }
}
