// What verbs have made from a run, and the commands that make more.

import { h } from "./dom";
import { url } from "./server";
import type { Detail } from "./types";
import { command } from "./ui/controls";
import { icon } from "./ui/icons";
import { watch as words } from "./words/watch";

/** A section of the page Watch. */
export class MadeFrom {
  private readonly items = h("ul", { class: "made" });
  private readonly none = h("p", { class: "muted" }, words.madeNone);
  private readonly search = h("div", { class: "stack", hidden: true });
  private readonly commands = h("dl", { class: "makes" });
  readonly element = h("section", { class: "panel stack", "aria-label": words.made },
    h("h2", {}, words.made), this.search, this.none, this.items,
    h("details", {}, h("summary", {}, words.makes), this.commands));
  private shown = "";
  private able = "";

  constructor(private readonly say: (text: string) => void) {}

  set({ summary, made, path, search }: Detail): void {
    this.search.hidden = !search;
    if (search && !this.search.childElementCount) this.search.append(h("p", {}, words.search(search.path)));
    if (search?.picture && this.search.childElementCount === 1) {
      const address = url("api/search.png", { run: summary.id });
      const picture = h("img", { src: address, alt: words.searchPicture, loading: "lazy" });
      this.search.append(h("a", { class: "found", href: address, target: "_blank", rel: "noopener" }, picture));
    }
    const key = JSON.stringify(made);
    if (key !== this.shown) {
      this.shown = key;
      this.none.hidden = made.length > 0;
      this.items.replaceChildren(...made.map((it) => this.item(summary.id, it)));
    }
    const verbs = words.verbs.filter(({ when }) => when(summary)).map(({ what, command }) => [what, command(path, summary)] as const);
    const able = JSON.stringify(verbs);
    if (able === this.able) return; // a command that is being selected stays
    this.able = able;
    this.element.querySelector("details")!.hidden = !summary.verbs.length;
    this.commands.replaceChildren(...verbs.flatMap(([what, text]) => [h("dt", {}, what), h("dd", {}, command(text, this.say))]));
  }

  private item(run: string, { file, page, changed }: Detail["made"][number]): HTMLElement {
    const name = file.replace(/(\/index\.html|\.png)$/, "");
    const when = new Date(changed * 1000).toLocaleString("en", { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
    // What has been written anew under the same name is another picture.
    const address = url(page ? "api/page" : "api/picture", { run, file, ...(page ? {} : { at: changed }) });
    const picture = page ? h("span", { class: "leaf" }, icon("page")) : h("img", { src: address, alt: "", loading: "lazy" });
    return h("li", {}, h("a", { href: address, target: "_blank", rel: "noopener" },
      picture,
      h("span", {}, h("b", {}, name), h("span", { class: "muted small" }, `${page ? words.madePage : words.madePicture}, ${when}`), h("span", { class: "hidden-text" }, words.newTab))));
  }
}
