// The list of figures, and a page for each.

import { address, type App } from "../app";
import { h } from "../dom";
import { pictured } from "../explore/draw";
import { ask } from "../server";
import type { Lesson, Summary } from "../types";
import { command } from "../ui/controls";
import { figure } from "../ui/format";
import { ideas, learn, play } from "../words/learn";
import { shell } from "../words/shell";
import { formula, withFormulas } from "./math";
import { trials } from "./presets";
import { zoom } from "./zoom";

/** What of results/ the page was built with; `size` is the picture's. */
export interface Figure extends Lesson {
  size: [number, number];
  quick: boolean;
  seeds: number[];
  command: string;
  ganvas: string;
  commit: string | null;
  machine: { processor: string; cores: number; gpu: string | null; torch: string };
  date: string;
  seconds: number;
  runs: string[];
}

const pictureOf = (name: string): string => `lessons/${name}.png`;
const pageOf = (name: string): string => address(`learn/${name}`);
/** With a capital at its start, unless that is a symbol. */
const sentence = (text: string): string => (/^[a-z]{2}|^a /.test(text) ? `${text[0]!.toUpperCase()}${text.slice(1)}` : text);

export async function lessons(): Promise<Figure[]> {
  const response = await fetch("lessons.json").catch(() => null);
  const found: unknown = response?.ok ? await response.json().catch(() => null) : null;
  return Array.isArray(found) ? (found as Figure[]) : [];
}

/** A verdict in a word: its colour is not all that it says. */
function verdict({ holds, quick }: Figure): HTMLElement {
  return h("span", { class: `chip ${holds ? "good" : "warn"}` }, (holds ? `✓ ${learn.holds}` : `✗ ${learn.fails}`) + (quick ? ` (${learn.quick})` : ""));
}

// ---- the list ----

export function list(all: Figure[]): HTMLElement[] {
  const tile = (it: Figure): HTMLElement =>
    h("li", {}, h("a", { class: "lesson", href: pageOf(it.name), "data-holds": it.holds },
      h("img", { src: pictureOf(it.name), alt: "", loading: "lazy", decoding: "async", width: it.size[0], height: it.size[1] }),
      h("div", { class: "lesson-text" }, h("span", { class: "mono muted small" }, it.lecture.join(", ")), h("h3", {}, sentence(it.title)), h("div", {}, verdict(it)))));
  const section = (title: string, letter: string): HTMLElement | null => {
    const own = all.filter(({ lecture }) => lecture[0]?.startsWith(letter));
    const holds = own.filter((it) => it.holds).length;
    return own.length ? h("section", { class: "stack" }, h("div", { class: "row spread" }, h("h2", {}, title), h("span", { class: "muted small" }, learn.counted(holds, own.length))), h("ol", { class: "lessons" }, ...own.map(tile))) : null;
  };
  const game = (kind: "line" | "plane"): HTMLElement =>
    h("li", {}, h("a", { class: "lesson live", href: pageOf(`live-${kind}`) }, h("div", { class: "lesson-text" }, h("h3", {}, play[kind].title), h("p", { class: "small muted" }, play[kind].text))));
  return [
    h("header", { class: "stack learn-head" }, h("h1", {}, learn.title), h("p", { class: "muted" }, learn.intro)),
    h("section", { class: "stack" }, h("div", { class: "row spread" }, h("h2", {}, learn.live), h("span", { class: "muted small" }, learn.liveIntro)), h("ul", { class: "lessons" }, game("line"), game("plane"))),
    ...[section(learn.lecture, "L"), section(learn.papers, "P")].filter((part) => part !== null),
    ...(all.length ? [] : [h("p", { class: "empty" }, learn.missing)]),
  ];
}

// ---- a figure's page ----

export function lesson(all: Figure[], name: string, app: App): HTMLElement[] {
  const place = all.findIndex((it) => it.name === name);
  const it = all[place];
  if (!it) return [h("div", { class: "empty stack" }, h("p", {}, learn.unknown(name)), h("p", {}, h("a", { href: address("learn") }, learn.toList)))];
  const title = sentence(it.title);
  const idea = ideas[name];
  const trial = trials[name];
  const turn = (to: Figure | undefined, text: string, rel: string): HTMLElement | null =>
    to ? h("a", { class: `learn-turn ${rel}`, href: pageOf(to.name), rel }, h("span", { class: "muted small" }, text), h("span", {}, sentence(to.title))) : h("span");
  const enlarge = (): void => zoom(pictureOf(name), title, it.size);
  return [
    h("header", { class: "stack learn-head" },
      h("a", { href: address("learn"), class: "small" }, `← ${learn.toList}`),
      h("div", { class: "row" }, h("span", { class: "mono muted" }, it.lecture.join(", ")), verdict(it)),
      h("h1", {}, title)),
    h("div", { class: "split learn-lesson" },
      h("div", { class: "stack" },
        h("figure", { class: "panel learn-picture" },
          h("button", { type: "button", class: "learn-enlarge", title: learn.zoom, "aria-label": `${learn.zoom}. ${learn.picture(title)}`, onclick: enlarge },
            h("img", { src: pictureOf(name), alt: learn.picture(title), width: it.size[0], height: it.size[1] }))),
        idea ? h("section", { class: "panel stack" }, h("h2", {}, learn.idea), h("p", {}, ...withFormulas(idea.text)), h("div", { class: "learn-formula", tabindex: 0, role: "region", "aria-label": learn.formula }, formula(idea.formula, true) as HTMLElement)) : null,
        h("section", { class: `card ${it.holds ? "good" : "warn"} stack` },
          h("h2", {}, learn.claim), h("p", {}, sentence(it.claim)),
          h("h2", {}, learn.verdict), h("p", {}, h("b", {}, it.holds ? learn.holds : learn.fails), it.quick ? ` (${learn.quick})` : "", it.reason ? `: ${it.reason}` : ".")),
        h("section", { class: "panel" }, h("h2", {}, learn.measured), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": learn.measured }, measured(it)))),
      h("aside", { class: "stack" },
        trial ? h("a", { class: "button primary", href: address(`learn/${trial.page}`, trial.settings) }, learn.tryLive) : null,
        behind(it),
        h("section", { class: "panel stack" }, h("h2", {}, learn.protocol), command(it.command, (text) => app.say(text)), protocol(it)))),
    h("nav", { class: "learn-turns", "aria-label": learn.others }, turn(all[place - 1], learn.previous, "prev"), turn(all[place + 1], learn.next, "next")),
  ];
}

function measured(it: Figure): HTMLElement {
  return h("table", { class: "table" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, learn.measure), h("th", { scope: "col", class: "number" }, learn.mean(it.seeds.length)), h("th", { scope: "col" }, learn.expected))),
    h("tbody", {}, ...it.measures.map(({ name, mean, sd, error, unit, expected }) => {
      const width = sd ?? error;
      return h("tr", {}, h("td", {}, name),
        h("td", { class: "number" }, `${figure(mean)}${width == null ? "" : ` ± ${figure(width, 2)}`}${unit ? ` ${unit}` : ""}`, sd == null && error != null ? h("div", { class: "muted small" }, learn.standardError) : null),
        h("td", {}, expected));
    })));
}

function protocol(it: Figure): HTMLElement {
  const { processor, cores, gpu, torch } = it.machine;
  const facts: [string, string][] = [
    [learn.seeds, it.seeds.join(", ")],
    [learn.machine, [processor, learn.cores(cores), gpu, `torch ${torch}`].filter(Boolean).join(", ")],
    [learn.version, [`ganvas ${it.ganvas}`, it.commit && learn.commit(it.commit)].filter(Boolean).join(", ")],
    [learn.made, it.date],
    [learn.took, shell.duration(it.seconds)],
  ];
  return h("dl", { class: "learn-facts" }, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** Links to a run of this figure in the studio's folder, if there is one: itself, else one of its recipe. */
function behind(it: Figure): HTMLElement {
  const root = h("section", { class: "panel stack", hidden: true });
  const names = it.runs.map((path) => path.split("/").at(-1)!);
  void ask<{ runs: Summary[] }>("api/runs").then(({ runs }) => {
    const good = runs.filter((run) => run.ok);
    const exact = good.find((run) => names.includes(run.id.split("/").at(-1)!));
    const like = good.find((run) => names.some((name) => name.startsWith(`${run.recipe}-${run.data}-`)));
    const kin = good.find((run) => names.some((name) => name.startsWith(`${run.recipe}-`)));
    const run = exact ?? like ?? kin;
    if (!run) return;
    const text = exact ? learn.behindExact : like ? learn.behindLike(run.recipe, run.data) : learn.behindRecipe(run.recipe);
    const explorable = run.verbs.includes("decode") && pictured(run.shape);
    root.append(
      h("h2", {}, learn.behind), h("p", {}, text, " ", h("b", {}, run.id)),
      h("div", { class: "row" }, h("a", { class: "button", href: address("watch", { run: run.id }) }, learn.watch), explorable ? h("a", { class: "button", href: address("explore", { run: run.id }) }, learn.explore) : null));
    root.hidden = false;
  }).catch(() => {}); // an exported page has no runs
  return root;
}
