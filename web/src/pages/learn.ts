// The lecture's figures: a list, a page for each, and two games that train live.

import "../learn/learn.css";
import { type App, type Mounted, type Page, parse, type Params } from "../app";
import { type Figure, lesson, lessons, list } from "../learn/lesson";
import { LineGame } from "../learn/line";
import { PlaneGame } from "../learn/plane";
import { learn as words, play } from "../words/learn";
import { shell } from "../words/shell";

export const learn: Page = async (root, app) => new Learn(root, app, await lessons());

const GAMES: Record<string, { title: string; make: new (root: HTMLElement, app: App) => Mounted }> = {
  "live-line": { title: play.line.title, make: LineGame },
  "live-plane": { title: play.plane.title, make: PlaneGame },
};

class Learn implements Mounted {
  private name: string | null = null;
  private game: Mounted | null = null;
  private readonly onkey = (event: KeyboardEvent): void => this.key(event);

  constructor(
    private readonly root: HTMLElement,
    private readonly app: App,
    private readonly figures: Figure[],
  ) {
    addEventListener("keydown", this.onkey);
    this.show();
  }

  changed(params: Params): void {
    if (nameNow() === this.name) this.game?.changed?.(params);
    else this.show();
  }

  close(): void {
    removeEventListener("keydown", this.onkey);
    this.game?.close();
  }

  private show(): void {
    this.game?.close();
    this.game = null;
    const first = this.name === null;
    const name = (this.name = nameNow());
    this.root.replaceChildren();
    const game = GAMES[name];
    const figure = this.figures.find((it) => it.name === name);
    if (game) this.game = new game.make(this.root, this.app);
    else this.root.append(...(name ? lesson(this.figures, name, this.app) : list(this.figures)));
    document.title = [game?.title ?? figure?.title, words.title, shell.title].filter(Boolean).join(" · ");
    if (first) return;
    scrollTo(0, 0);
    // A screen reader hears where it is now.
    const heading = this.root.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
  }

  /** The arrows turn the pages of figures. */
  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || this.game || document.querySelector("dialog[open]")) return;
    if ((event.target as HTMLElement).closest("input, select, textarea, .scroll, .learn-formula")) return;
    const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    if (rel) this.root.querySelector<HTMLAnchorElement>(`.learn-turns a[rel=${rel}]`)?.click();
  }
}

/** The part of the address after "learn/". */
function nameNow(): string {
  return decodeURIComponent(parse(location.hash).page.split("/").slice(1).join("/"));
}
