// A run's curves in the page: what the server sent at first, and the rows that came since, thinned as the server does.

import type { Curves, Row, Series } from "./types";

export const POINTS = 2000; // that a series keeps: more than a screen has columns
const NOT_FIGURES = new Set(["step", "epoch", "split"]);

export class Store {
  readonly series: Map<string, Series>;

  constructor(curves: Curves) {
    this.series = new Map(Object.entries(curves.series));
  }

  /** Adds rows of metrics.jsonl. */
  add(rows: Row[]): void {
    for (const row of rows) {
      for (const [field, value] of Object.entries(row)) {
        if (NOT_FIGURES.has(field) || (value !== null && typeof value !== "number")) continue;
        const name = `${row.split}/${field}`;
        const series = this.series.get(name) ?? { step: [], value: [] };
        this.series.set(name, series);
        series.step.push(row.step);
        series.value.push(value);
        // Twice as many before it is thinned again: it then costs little a row.
        if (series.step.length > 2 * POINTS) this.series.set(name, thin(series, POINTS));
      }
    }
  }
}

/** At most `points`: the smallest and the largest of each of equal spans of steps, so that no peak is lost. */
export function thin({ step, value }: Series, points: number): Series {
  const n = step.length;
  if (n <= points) return { step, value };
  const thinned: Series = { step: [], value: [] };
  const first = step[0]!;
  const buckets = Math.max(1, Math.floor(points / 2));
  const width = (step[n - 1]! - first) / buckets || 1;
  const bucket = (i: number): number => Math.min(buckets - 1, Math.floor((step[i]! - first) / width));
  for (let begin = 0, end = 0; begin < n; begin = end) {
    let low = begin;
    let high = begin;
    // A value that is not finite (null) stays where a bucket has nothing else.
    for (end = begin; end < n && bucket(end) === bucket(begin); end++) {
      const v = value[end]!;
      if (v === null) continue;
      if (value[low] === null || v < value[low]!) low = end;
      if (value[high] === null || v > value[high]!) high = end;
    }
    for (const i of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      thinned.step.push(step[i]!);
      thinned.value.push(value[i]!);
    }
  }
  return thinned;
}

/** The place of the value nearest to a step, -1 of none. */
export function nearest({ step }: Series, wanted: number): number {
  let low = 0;
  let high = step.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (step[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - step[low - 1]! < step[low]! - wanted ? low - 1 : low < step.length ? low : -1;
}
