// An exported model's page: Explore alone, with the model run in the browser. Its files lie beside it, or within it.

import runtime from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url&no-inline";
import { address } from "./app";
import { h } from "./dom";
import { type Files, OnnxBackend } from "./onnx";
import { explorePage } from "./pages/explore";
import { Router } from "./router";
import { icon } from "./ui/icons";
import { restoreTheme, setTheme, theme } from "./ui/theme";
import { shell } from "./words/shell";
import { words } from "./words/exported";

restoreTheme();
if (!location.hash.startsWith("#/explore")) history.replaceState(null, "", address("explore"));

/** What ganvas put into a page that is one file: a data address. */
function within(name: string): string | null {
  return document.querySelector(`script[data-file="${name}"]`)?.textContent ?? null;
}

async function bytes(name: string, place = name): Promise<ArrayBuffer> {
  const data = within(name);
  if (data) {
    const packed = await fetch(data);
    return new Response(packed.body!.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }
  const response = await fetch(place);
  if (!response.ok) throw new Error(words.missing(name, response.status));
  return response.arrayBuffer();
}

const files: Files = {
  bytes: (name) => bytes(name),
  runtime: () => bytes("runtime.wasm", runtime),
  picture: (name) => within(name) ?? name,
};

const main = h("main", { id: "content", tabindex: -1 }, h("div", { class: "page empty" }, words.loading));
const toast = h("div", { class: "toast", role: "status", "aria-live": "polite" });
const themes = ["auto", "light", "dark"] as const;
const themeButton = h("button", { type: "button", class: "icon", onclick: () => {
  setTheme(themes[(themes.indexOf(theme()) + 1) % themes.length]!);
  showTheme();
} });
function showTheme(): void {
  const name = shell.nextTheme(shell.themes[theme()]);
  themeButton.replaceChildren(icon(theme()));
  themeButton.title = name;
  themeButton.setAttribute("aria-label", name);
}
showTheme();

document.querySelector("#app")!.append(
  h("header", { class: "head" }, h("span", { class: "name" }, words.name), h("nav"), h("span", { class: "link" }, words.local), themeButton),
  main,
  toast,
);

let silence = 0;
function say(text: string): void {
  toast.textContent = "";
  requestAnimationFrame(() => (toast.textContent = text));
  clearTimeout(silence);
  silence = window.setTimeout(() => (toast.textContent = ""), 3000 + 40 * text.length);
}

const page = explorePage(async () => {
  const backend = await OnnxBackend.open(files);
  document.title = words.title((await backend.space()).name);
  return backend;
});
new Router(main, { explore: () => Promise.resolve(page) }, say, () => {});
