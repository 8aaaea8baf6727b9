// The shell: the header, the pages, what is said to the user, and the keyboard.

import { address, type Page, type Params } from "./app";
import { h } from "./dom";
import { live } from "./live";
import { runs } from "./pages/runs";
import { Router } from "./router";
import { themeButton, toast } from "./ui/frame";
import { icon } from "./ui/icons";
import { restoreTheme } from "./ui/theme";
import { shell } from "./words/shell";
import mark from "./icon.svg?no-inline";

restoreTheme();

// The first page is there at once; the others are loaded when they are asked for.
const pages: Record<string, () => Promise<Page>> = {
  runs: () => Promise.resolve(runs),
  watch: async () => (await import("./pages/watch")).watch,
  explore: async () => (await import("./pages/explore")).explore,
  learn: async () => (await import("./pages/learn")).learn,
};

const links = new Map(Object.entries(shell.pages).map(([name, text]) => [name, h("a", { href: address(name) }, text)]));
const link = h("span", { class: "link" }, shell.connected);
const lost = h("div", { class: "lost", hidden: true }, shell.lostBanner);
const { element: line, say } = toast();
const main = h("main", { id: "content", tabindex: -1 });

const help = h("dialog", { "aria-label": shell.help },
  h("form", { method: "dialog", class: "stack" },
    h("h2", {}, shell.help),
    h("dl", { class: "keys" }, ...Object.entries(shell.keys).flatMap(([keys, text]) => [
      h("dt", {}, ...keys.split(" ").flatMap((key, i) => (i ? [" ", h("kbd", {}, key)] : [h("kbd", {}, key)]))),
      h("dd", {}, text),
    ])),
    h("div", {}, h("button", {}, shell.close)),
  ));

document.querySelector("#app")!.append(
  // A link to "#content" would be an address of no page.
  h("a", { class: "skip", href: "#content", onclick: (event: Event) => {
    event.preventDefault();
    main.focus();
  } }, shell.skip),
  h("header", { class: "head" },
    h("a", { class: "name", href: address("runs"), title: shell.title }, h("img", { src: mark, alt: "", width: 22, height: 22 }), shell.name),
    h("nav", { "aria-label": shell.navigation }, ...links.values()),
    link,
    h("button", { type: "button", class: "icon keys-button", title: shell.help, "aria-label": shell.help, onclick: () => help.showModal() }, icon("keys")),
    themeButton(),
  ),
  lost, main, line, help,
);

function onvisit(name: string, params: Params): void {
  const run = params.get("run");
  document.title = [run === "." ? null : run, shell.pages[name], shell.title].filter(Boolean).join(" · ");
  for (const [page, a] of links) {
    if (page === name) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
    // The run goes along from page to page.
    if (run && (page === "watch" || page === "explore")) a.href = address(page, { run });
  }
}

live().onconnection = (connected) => {
  link.textContent = connected ? shell.connected : shell.reconnecting;
  link.toggleAttribute("data-lost", !connected);
  lost.hidden = connected;
  say(connected ? shell.back : shell.lost);
};

const app = new Router(main, pages, say, onvisit);

let before = -Infinity; // when "g" was pressed
addEventListener("keydown", (event) => {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (target.matches("input:not([type=range], [type=checkbox], [type=radio], [type=color]), textarea, select, [contenteditable]")) return;
  const page = Object.keys(shell.pages).find((name) => name[0] === event.key);
  if (page && event.timeStamp - before < 1500) {
    before = -Infinity;
    app.go(page, Object.fromEntries(new URLSearchParams(links.get(page)!.hash.split("?")[1])));
  } else if (event.key === "?") help.showModal();
  else before = event.key === "g" ? event.timeStamp : -Infinity;
});
