// What the server pushes: one WebSocket for the whole page, which comes back by itself.

import { socket } from "./server";
import type { Row, Summary } from "./types";

type Push =
  | { runs: Summary[] }
  | { gone: string[] }
  | { curves: string; cursor: number; rows: Row[] }
  | { detail: string };

export interface RunsListener {
  runs(changed: Summary[]): void;
  gone(ids: string[]): void;
  /** The line was cut and is back: what changed meanwhile is not pushed. */
  again(): void;
}
export interface CurvesListener {
  rows(rows: Row[]): void;
  /** Pictures or findings have changed, or may have. */
  detail(): void;
  /** The metrics were written anew: ask for the whole curves. */
  anew(): void;
}

const PATIENCE = [250, 500, 1000, 2000, 4000]; // milliseconds before each next try to connect

export class Live {
  /** Called with false when the server is gone, with true when it answers again. */
  onconnection: (connected: boolean) => void = () => {};
  private line: WebSocket | null = null;
  private tries = 0;
  private timer = 0;
  private lost = false;
  private readonly runs = new Set<RunsListener>();
  private readonly curves = new Map<string, { cursor: number; listener: CurvesListener }>();

  constructor() {
    this.connect();
    // A laptop that wakes up, or a tab that comes back, does not wait for the next try.
    for (const [target, event] of [[window, "online"], [document, "visibilitychange"]] as const) {
      target.addEventListener(event, () => {
        if (document.visibilityState === "visible" && !this.line) this.connect();
      });
    }
  }

  /** Listens to every run. Returns what ends it. */
  onruns(listener: RunsListener): () => void {
    this.runs.add(listener);
    this.wish();
    return () => {
      this.runs.delete(listener);
      this.wish();
    };
  }

  /** Listens to the rows of a run's metrics after `cursor`, one listener a run. Returns what ends it. */
  oncurves(id: string, cursor: number, listener: CurvesListener): () => void {
    const entry = { cursor, listener };
    this.curves.set(id, entry);
    this.wish();
    return () => {
      if (this.curves.get(id) !== entry) return;
      this.curves.delete(id);
      this.wish();
    };
  }

  /** Tells the server what is listened to. */
  private wish(): void {
    if (this.line?.readyState !== WebSocket.OPEN) return;
    const curves = Object.fromEntries([...this.curves].map(([id, { cursor }]) => [id, cursor]));
    this.line.send(JSON.stringify({ runs: this.runs.size > 0, curves }));
  }

  private connect(): void {
    clearTimeout(this.timer);
    const line = (this.line = socket("ws/live"));
    line.onopen = () => {
      this.tries = 0;
      this.wish();
      if (!this.lost) return;
      this.lost = false;
      this.onconnection(true);
      for (const listener of [...this.runs]) listener.again();
      for (const { listener } of [...this.curves.values()]) listener.detail();
    };
    line.onmessage = (event: MessageEvent<string>) => this.receive(JSON.parse(event.data) as Push);
    line.onclose = () => {
      this.line = null;
      if (!this.lost) {
        this.lost = true;
        this.onconnection(false);
      }
      this.timer = window.setTimeout(() => this.connect(), PATIENCE[Math.min(this.tries++, PATIENCE.length - 1)]);
    };
  }

  private receive(push: Push): void {
    if ("runs" in push) for (const listener of [...this.runs]) listener.runs(push.runs);
    if ("gone" in push) for (const listener of [...this.runs]) listener.gone(push.gone);
    if ("detail" in push) this.curves.get(push.detail)?.listener.detail();
    if ("curves" in push) {
      const entry = this.curves.get(push.curves);
      if (!entry) return;
      // A cursor that went back: the file was written anew, by a run that continues from a checkpoint.
      const anew = push.cursor < entry.cursor;
      entry.cursor = push.cursor;
      anew ? entry.listener.anew() : entry.listener.rows(push.rows);
    }
  }
}

let line: Live | undefined;

/** The page's one line, opened when it is first asked for. */
export function live(): Live {
  return (line ??= new Live());
}
