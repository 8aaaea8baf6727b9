// What the server answers, see docs/studio.md.

export type State = "new" | "running" | "interrupted" | "failed" | "finished";

export interface Summary {
  id: string;
  ok: boolean;
  error?: string;
  state: State;
  recipe: string;
  data: string;
  shape: number[];
  latent: number | null;
  verbs: string[];
  seed: number;
  step: number;
  steps: number | null;
  epoch: number;
  epochs: number;
  seconds: number;
  remaining: number | null;
  started: number;
  changed: number;
  figures: Record<string, number>;
  findings: string[];
}

export interface Finding {
  name: string;
  since: number;
  evidence: Record<string, { value: number; healthy: string }>;
  explanation: string;
  remedy: string;
}

export interface Picture {
  epoch: number;
  file: string;
}

export interface Detail {
  summary: Summary;
  recipe: Record<string, unknown>;
  data: Record<string, unknown>;
  findings: Finding[];
  pictures: { samples: Picture[]; reconstructions: Picture[] };
  snapshots: number[];
  /** Pages and pictures that verbs have made, the newest first. */
  made: { file: string; page: boolean; changed: number }[];
  /** The run's folder as it is typed in a shell. */
  path: string;
  /** Of a trial of `ganvas tune`: the search's folder as it is typed, and whether it has a picture. */
  search: { path: string; picture: boolean } | null;
}

export interface Series {
  step: number[];
  value: (number | null)[];
}

export interface Curves {
  cursor: number;
  series: Record<string, Series>;
}

export type Row = { step: number; epoch: number; split: string } & Record<string, number | string | null>;

export interface Space {
  id: string;
  name: string;
  recipe: string;
  data: string;
  shape: number[];
  latent: number;
  verbs: string[];
  /** What it can be told; of a number `values` are the least and the greatest of the training. */
  condition: { name: string; values: string[]; number: boolean }[];
  guides: boolean;
  prior: { kind: string; bound: number | null };
  order: number[];
  weight: number[];
  by: string;
  active: number;
  mean: number[];
  spread: number[];
  principal: { directions: number[][]; spread: number[] } | null;
  directions: { name: string; low: string; high: string; vector: number[] }[];
}

export interface Atlas {
  of: "test images" | "samples";
  axes: string[];
  mean: number[];
  plane: number[][];
  prior: [number, number];
  codes: string;
  points: string;
  rows: number[];
  columns: number;
  labels: { name: string; values: string[]; of: number[] }[];
}

export interface Lesson {
  name: string;
  lecture: string[];
  title: string;
  claim: string;
  holds: boolean;
  reason: string;
  measures: { name: string; values: number[]; mean: number; sd: number | null; error: number | null; unit: string; expected: string }[];
  [key: string]: unknown;
}
