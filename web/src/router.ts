// From the address after "#" to a page, and back.

import { address, type App, type Mounted, type Page, type Params, parse } from "./app";
import { h } from "./dom";
import { shell } from "./words/shell";

const PAUSE = 150; // milliseconds between two replaced addresses: browsers refuse more than a few a second

export class Router implements App {
  private path = "";
  private shown: Mounted | null = null;
  private visit = 0;
  private pending = 0;
  private run: string | null = null;
  private readonly current: { params: Params } = { params: new URLSearchParams() };

  /**
   * @param root Where pages are shown.
   * @param pages What loads each page, by name.
   * @param say See `App`.
   * @param onvisit Told of every new address: the page's name and its state.
   */
  constructor(
    private readonly root: HTMLElement,
    private readonly pages: Record<string, () => Promise<Page>>,
    readonly say: (text: string) => void,
    private readonly onvisit: (name: string, params: Params) => void,
  ) {
    addEventListener("hashchange", () => void this.follow());
    addEventListener("pagehide", () => this.write());
    void this.follow();
  }

  get params(): Params {
    return this.current.params;
  }

  go(page: string, params: Record<string, string>): void {
    this.write();
    location.hash = address(page, params);
  }

  replace(params: Record<string, string>): void {
    this.current.params = new URLSearchParams(params);
    this.pending ||= window.setTimeout(() => this.write(), PAUSE);
  }

  /** Puts a replaced state into the address now. */
  private write(): void {
    if (!this.pending) return;
    clearTimeout(this.pending);
    this.pending = 0;
    history.replaceState(history.state, "", address(this.path, this.current.params));
    // Another run is another visit; a slider that moved is none, and leaves the page its title.
    if (this.params.get("run") !== this.run) this.tell();
  }

  private async follow(): Promise<void> {
    clearTimeout(this.pending);
    this.pending = 0;
    const { page, params } = parse(location.hash);
    const same = nameOf(page) === nameOf(this.path);
    this.path = page;
    this.current.params = params;
    this.tell();
    if (same && this.shown?.changed) this.shown.changed(params);
    else await this.show();
  }

  private tell(): void {
    this.run = this.params.get("run");
    this.onvisit(nameOf(this.path), this.params);
  }

  /** Mounts the page of the address, or says why it can't. */
  private async show(): Promise<void> {
    const visit = ++this.visit;
    const name = nameOf(this.path);
    this.shown?.close();
    this.shown = null;
    const root = h("div", { class: "page", "data-page": name });
    try {
      const load = this.pages[name];
      if (!load) {
        root.append(h("div", { class: "empty stack" }, h("p", {}, shell.unknown(name)), h("p", {}, h("a", { href: address("runs") }, shell.toRuns))));
        this.root.replaceChildren(root);
        return;
      }
      const page = await load();
      if (visit !== this.visit) return;
      this.root.replaceChildren(root);
      scrollTo(0, 0);
      const mounted = await page(root, this);
      if (visit === this.visit) this.shown = mounted;
      else mounted.close();
    } catch (error) {
      if (visit !== this.visit) return;
      this.root.replaceChildren(
        h("div", { class: "page" }, h("div", { class: "card bad stack", role: "alert" },
          h("h1", {}, shell.failed),
          h("p", {}, error instanceof Error ? error.message : String(error)),
          h("div", {}, h("button", { type: "button", onclick: () => void this.show() }, shell.again)))),
      );
    }
  }
}

function nameOf(path: string): string {
  return path.split("/", 1)[0] ?? "";
}
