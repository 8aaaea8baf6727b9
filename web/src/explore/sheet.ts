// A grid of decoded images of which one is chosen, by pointer or keyboard.

import { h } from "../dom";
import { words } from "../words/explore";
import { Frame, figure, styled } from "./draw";
import type { Here } from "./here";
import type { Code } from "./latent";

let count = 0;

export class Sheet {
  readonly element: HTMLElement;
  readonly frame: Frame;
  private codes: Code[] = [];
  private job: AbortController | null = null;
  private at = 0;
  private area: HTMLElement;
  private cursor = h("div", { class: "x-cursor" });

  /** @param name What screen readers call image i. */
  constructor(
    private here: Here,
    private rows: number,
    private columns: number,
    title: string,
    private name: (i: number) => string,
    caption?: string,
  ) {
    this.frame = new Frame(here.shape, rows, columns);
    const id = `x-cell-${count++}`;
    const said = h("span", { class: "hidden-text", id, role: "status" });
    const area = (this.area = h(
      "div",
      {
        class: "x-sheet",
        tabindex: 0,
        role: "application",
        "aria-label": `${title}. ${words.sheetKeys}`,
        onclick: (event: MouseEvent) => this.choose(this.under(event)),
        onpointermove: (event: PointerEvent) => this.point(this.under(event)),
        onkeydown: (event: KeyboardEvent) => {
          const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
          if (event.key === "Enter") this.choose(this.at);
          else if (step !== undefined && this.at + step >= 0 && this.at + step < rows * columns) {
            this.point(this.at + step);
            said.textContent = this.name(this.at);
          } else if (step === undefined) return;
          event.preventDefault();
        },
      },
      this.frame.canvas,
      this.cursor,
      said,
    ));
    styled(
      area,
      `aspect-ratio: ${this.frame.canvas.width} / ${this.frame.canvas.height}; --rows: ${rows}; --columns: ${columns}`,
    );
    this.element = figure(this.frame.canvas, title, caption);
    this.frame.canvas.replaceWith(area);
    area.prepend(this.frame.canvas);
    this.point(Math.floor((rows * columns) / 2) * Number(rows > 1));
  }

  /** Decodes codes into the grid; what it showed stays until they come. */
  show(codes: Code[]): void {
    this.codes = codes;
    this.job?.abort();
    const job = (this.job = new AbortController());
    this.area.ariaBusy = "true";
    this.here.decoder
      .many(codes, (start, pixels, n) => this.frame.draw(pixels, n, start), job.signal)
      .catch((error) => this.here.fail(error))
      .finally(() => job.signal.aborted || (this.area.ariaBusy = "false"));
  }

  close(): void {
    this.job?.abort();
  }

  private under(event: MouseEvent): number {
    const box = this.frame.canvas.getBoundingClientRect();
    const cell = (at: number, size: number, n: number) => Math.max(0, Math.min(n - 1, Math.floor((at / size) * n)));
    return (
      cell(event.clientY - box.top, box.height, this.rows) * this.columns +
      cell(event.clientX - box.left, box.width, this.columns)
    );
  }

  private point(i: number): void {
    this.at = i;
    this.cursor.style.left = `${(100 * (i % this.columns)) / this.columns}%`;
    this.cursor.style.top = `${(100 * Math.floor(i / this.columns)) / this.rows}%`;
    this.cursor.title = this.name(i);
  }

  private choose(i: number): void {
    this.point(i);
    const code = this.codes[i];
    if (code) this.here.visit(code);
  }
}
