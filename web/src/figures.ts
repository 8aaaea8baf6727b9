// Which figures of a run go into which chart.

import type { Line } from "./chart";
import type { Store } from "./curves";
import { type ChartWords, groups, others, speed, splits, unshown } from "./words/watch";

export interface Plan {
  title: string;
  charts: { title: string; what: string; lines: Omit<Line, "series">[]; series: string[] }[];
}

const ORDER = ["train", "validation", "test", "watch"];
const COLOURS: Record<string, string> = { train: "--c1", validation: "--c2", test: "--c4", watch: "--c3" };

/** "train/discriminator/loss" in its two parts. */
export function parts(series: string): [split: string, field: string] {
  const cut = series.indexOf("/");
  return [series.slice(0, cut), series.slice(cut + 1)];
}

/** "discriminator/gradient-penalty" as a person reads it: "D: gradient penalty". */
function plain(field: string): string {
  const [player, name] = field.includes("/") ? parts(field) : ["", field];
  const text = name.replaceAll(/[-_]/g, " ");
  return player ? `${others.players[player] ?? player}: ${text}` : text.charAt(0).toUpperCase() + text.slice(1);
}

/** The charts of the series that there are, grouped, in the order in which they are told. */
export function plan(names: Iterable<string>): Plan[] {
  const bySplit = new Map<string, string[]>(); // field -> its series
  for (const name of names) {
    const [, field] = parts(name);
    if (!unshown.has(field)) bySplit.set(field, [...(bySplit.get(field) ?? []), name]);
  }
  const chart = ({ title, what, lines }: ChartWords): Plan["charts"] => {
    const fields = Object.keys(lines).filter((field) => bySplit.has(field));
    const found = fields.flatMap((field) => bySplit.get(field)!.sort((a, b) => ORDER.indexOf(parts(a)[0]) - ORDER.indexOf(parts(b)[0])));
    for (const field of fields) bySplit.delete(field);
    if (!found.length) return [];
    const several = Object.keys(lines).length > 1;
    const mixed = new Set(found.map((name) => parts(name)[0])).size > 1;
    return [{
      title,
      what,
      series: found,
      lines: found.map((name, i) => {
        const [split, field] = parts(name);
        const where = splits[split] ?? split;
        return {
          name: several ? (mixed ? `${lines[field]}, ${where}` : lines[field]!) : where,
          colour: several ? `--c${(i % 8) + 1}` : (COLOURS[split] ?? "--c5"),
        };
      }),
    }];
  };
  const all: Plan[] = groups.map(({ title, charts }) => ({ title, charts: charts.flatMap(chart) }));
  const last = { title: speed.title, charts: speed.charts.flatMap(chart) };
  const rest = [...bySplit.keys()].sort();
  const own = (field: string): Plan["charts"] => chart({ title: plain(field), what: field.includes("/") ? others.term : "", lines: { [field]: "" } });
  all.push({ title: others.terms, charts: rest.filter((field) => field.includes("/")).flatMap(own) });
  all.push({ title: others.title, charts: rest.filter((field) => !field.includes("/")).flatMap(own) });
  all.push(last);
  return all.filter(({ charts }) => charts.length);
}

/** The names worth charts: without an ELBO that is the loss with the other sign. */
export function worth(store: Store): string[] {
  return [...store.series.keys()].filter((name) => {
    const [split, field] = parts(name);
    if (field !== "elbo") return true;
    const loss = store.series.get(`${split}/loss`);
    const elbo = store.series.get(name)!;
    const v = elbo.value.at(-1);
    const w = loss?.value.at(-1);
    return v == null || w == null || elbo.step.at(-1) !== loss?.step.at(-1) || Math.abs(v + w) > 1e-6 * Math.abs(v);
  });
}

/** A short name of a figure among the last ones of a run: "discriminator/loss" is "D loss". */
export function shortName(field: string): string {
  const [player, name] = field.includes("/") ? parts(field) : ["", field];
  return [others.players[player] ?? player, name.replaceAll(/[-_]/g, " ")].filter(Boolean).join(" ");
}
