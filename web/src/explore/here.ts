// What the pieces of the Explore page share.

import type { App } from "../app";
import type { Backend, Told } from "../backend";
import type { Space } from "../types";
import type { Chart } from "./chart";
import type { Decoder } from "./decoder";
import type { Shape } from "./draw";
import type { State } from "./state";

export interface Here {
  readonly app: App;
  readonly backend: Backend;
  readonly decoder: Decoder;
  readonly space: Space;
  readonly shape: Shape;
  /** The encoded test images; null where there are none, or not yet. */
  readonly chart: Chart | null;
  readonly state: Readonly<State>;
  /** What the model is told; another object when it is told something else. */
  readonly told: Told;
  /** What is shown: the state's code with its turns. */
  readonly code: number[];
  /** A change while something is dragged: only what follows the code is drawn. */
  move(change: Partial<State>): void;
  /** A change that undo takes back; without one, the end of a drag. */
  step(change?: Partial<State>): void;
  /** A change of how things are looked at: it is in the address, and undo passes over it. */
  view(change: Partial<State>): void;
  /** Goes to a code, as a step. */
  visit(code: ArrayLike<number>): void;
  /** The next point that is clicked on the map goes to `done` (an index of the chart). */
  pick(done: (index: number) => void): void;
  /** Says what went wrong. */
  fail(error: unknown): void;
}

/** A part of the page. `moved` follows a drag, and must be quick; `changed` follows each change that stays. */
export interface Piece {
  readonly element: HTMLElement;
  moved?(): void;
  changed?(): void;
  /** The map has come. */
  charted?(): void;
  close?(): void;
}
