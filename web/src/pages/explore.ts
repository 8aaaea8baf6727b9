// Explore: what a model has learned, walked through. One code is shown at a time, and everything here moves it.

import { address, type App, type Mounted, type Page, type Params } from "../app";
import type { Backend, Told } from "../backend";
import { h } from "../dom";
import { Chart } from "../explore/chart";
import { Decoder } from "../explore/decoder";
import { Frame, bytes, figure, icon, pictured, shapeOf } from "../explore/draw";
import "../explore/explore.css";
import type { Here, Piece } from "../explore/here";
import { imagePiece } from "../explore/image";
import { gauss, kept, plus, rounded, type Code } from "../explore/latent";
import { onfile, onkeys } from "../explore/listen";
import { mapPiece } from "../explore/map";
import { nearestPiece } from "../explore/nearest";
import { planePiece } from "../explore/plane";
import { directionNames, directionsPiece, slidersPiece } from "../explore/sliders";
import { toldPiece } from "../explore/told";
import { TRAYS, read, wrote, type State, type Tool } from "../explore/state";
import { arithmeticPiece, betweenPiece, threePiece } from "../explore/tools";
import { Trail } from "../explore/trail";
import { DRAGGED, addTo, traysPiece } from "../explore/trays";
import { ServerBackend, ask } from "../server";
import type { Space, Summary } from "../types";
import { empty, tabs } from "../ui/controls";
import { words } from "../words/explore";

// Where an interpolation and a plane start: what is shown, and the first points of the map.
const ENDS = ["now", "m1"];
const CORNERS = ["now", "m0", "m1"];
const NUDGE = 0.2; // standard deviations of a nudge

/** @param choose Fills the page when the address names no run; without it none needs to. */
export function explorePage(
  open: (run: string) => Promise<Backend>,
  choose?: (root: HTMLElement) => Promise<void>,
): Page {
  return async (root, app) => {
    let visit = 0;
    const load = async (run: string): Promise<Mounted> => {
      const mine = ++visit;
      root.replaceChildren(h("p", { class: "empty", role: "status" }, words.loading));
      if (choose && !run) {
        await choose(root);
        return { close: () => {} };
      }
      const backend = await open(run);
      try {
        const space = await backend.space();
        if (!pictured(space.shape)) {
          root.replaceChildren(empty(space.shape.length === 3 ? words.channels : words.points));
          return { close: () => backend.close() };
        }
        // Of many dimensions no code of the prior is near its mean, and what a GAN makes of it can be like no image.
        const far = space.latent > 2 && space.verbs.includes("sample") && !space.verbs.includes("encode");
        const [start = space.mean] = far ? await backend.samples(1, 0, { condition: {}, guidance: 1 }) : [];
        if (mine !== visit) throw new Error(words.left);
        return mount(root, app, backend, space, start);
      } catch (error) {
        backend.close();
        throw error;
      }
    };
    let run = app.params.get("run") ?? "";
    let shown: Mounted | null = await load(run);
    return {
      changed(params) {
        const wanted = params.get("run") ?? "";
        if (wanted === run) return shown?.changed?.(params);
        run = wanted;
        shown?.close();
        shown = null;
        const loading = load(run);
        const mine = visit;
        loading.then(
          (mounted) => (mine === visit ? (shown = mounted) : mounted.close()),
          (error: unknown) => {
            const text = words.failed(error instanceof Error ? error.message : String(error));
            if (mine === visit) root.replaceChildren(h("p", { class: "card bad", role: "alert" }, text));
          },
        );
      },
      close() {
        visit++;
        shown?.close();
      },
    };
  };
}

export const explore = explorePage(
  (run) => Promise.resolve(new ServerBackend(run)),
  async (root) => {
    const { runs } = await ask<{ runs: Summary[] }>("api/runs");
    const able = runs.filter((run) => run.ok && run.verbs.includes("decode") && pictured(run.shape));
    const links = able.map((run) =>
      h("li", {}, h("a", { class: "button", href: address("explore", { run: run.id }) }, run.id)),
    );
    const none = () => empty(words.noRunHint, h("p", {}, h("a", { href: address("runs") }, words.toRuns)));
    root.replaceChildren(h("h1", {}, words.noRun), links.length ? h("ul", { class: "row" }, ...links) : none());
  },
);

function mount(root: HTMLElement, app: App, backend: Backend, space: Space, start: Code): Mounted {
  const shape = shapeOf(space.shape);
  const decoder = new Decoder(backend, bytes(shape));
  const names = directionNames(space.directions);
  const big = new Frame(shape, 1, 1, {
    role: "img",
    "aria-label": words.picture,
    draggable: "true",
    "data-sequence": "0",
  });
  const error = h("p", { class: "card bad", role: "alert", hidden: true });

  let state = read(app.params, space, start, ENDS, CORNERS);
  let code: number[] = [];
  let told: Told = { condition: {}, guidance: 1 };
  let chart: Chart | null = null;
  let closed = false;
  const pieces: Piece[] = [];

  const params = () => wrote(state, app.params, ENDS, CORNERS);
  const serial = (params: Record<string, string>) => JSON.stringify(Object.entries(params).sort());
  const trail = new Trail(serial(params()));

  const take = (change: Partial<State>) => {
    error.hidden = true;
    state = { ...state, ...change };
    const { given: condition, guidance } = state;
    if (JSON.stringify(told) !== JSON.stringify({ condition, guidance })) decoder.told = told = { condition, guidance };
    code = space.directions.reduce(
      (z, { vector }, i) => (state.turn[names[i]!] ? plus(z, vector, state.turn[names[i]!]) : z),
      state.z,
    );
  };
  let sequence = 0;
  let lost = false; // the picture, for which only the next one makes up
  const draw = () =>
    decoder.one(code).then(
      (pixels) => {
        if (!pixels || closed) return;
        big.draw(pixels);
        big.canvas.dataset.sequence = String(++sequence);
        if (lost) error.hidden = true;
        lost = false;
      },
      (reason) => {
        lost = true;
        fail(reason);
      },
    );
  const fail = (reason: unknown) => {
    if (closed) return;
    error.textContent = words.failed(reason instanceof Error ? reason.message : String(reason));
    error.hidden = false;
    app.say(error.textContent);
  };
  const settled = () => {
    decoder.release();
    void draw();
    for (const piece of pieces) piece.changed?.();
    undo.disabled = !trail.back;
    redo.disabled = !trail.forth;
  };

  const here: Here = {
    app,
    backend,
    decoder,
    space,
    shape,
    get chart() {
      return chart;
    },
    get state() {
      return state;
    },
    get told() {
      return told;
    },
    get code() {
      return code;
    },
    move(change) {
      decoder.held = true;
      take(change);
      void draw();
      for (const piece of pieces) piece.moved?.();
    },
    step(change = {}) {
      take(change);
      if (trail.push(serial(params()))) app.go("explore", params());
      settled();
    },
    view(change) {
      take(change);
      trail.replace(serial(params()));
      app.replace(params());
      settled();
    },
    visit(z) {
      here.step({ z: Array.from(z, rounded), turn: {} });
    },
    pick: (done) => map.pick(done),
    fail,
  };

  // New codes: what is locked stays.
  const locked = (): Code[] =>
    state.lock.flatMap((name) => {
      const i = Number(name.slice(1)) - 1;
      if (name[0] === "z" && i >= 0 && i < space.latent) return [space.mean.map((_, j) => Number(j === i))];
      const axis = name[0] === "p" ? space.principal?.directions[i] : undefined;
      return axis ? [axis] : [];
    });
  const towards = (z: Code) => here.step({ z: plus(state.z, kept(plus(z, state.z, -1), locked())).map(rounded) });
  const samples = space.verbs.includes("sample");
  const random = () => {
    if (samples)
      backend.samples(1, Math.floor(Math.random() * 2 ** 31), told).then(([z]) => z && !closed && towards(z), fail);
    else if (chart) towards(chart.code(Math.floor(Math.random() * chart.n)));
  };
  const nudge = () =>
    towards(
      plus(
        state.z,
        space.spread.map((spread) => NUDGE * spread * gauss(Math.random)),
      ),
    );
  const reset = () => here.visit(space.mean);
  const back = () => trail.back && history.back();
  const forth = () => trail.forth && history.forward();
  const copy = async () => {
    const text = location.href.split("#")[0] + address("explore", params());
    try {
      await navigator.clipboard.writeText(text);
      app.say(words.copied);
    } catch {
      app.say(words.notCopied);
    }
  };

  const button = (text: string, title: string, onclick: () => unknown, label?: string) =>
    h("button", { type: "button", title, "aria-label": label, onclick: () => void onclick() }, text);
  const iconButton = (name: Parameters<typeof icon>[0], title: string, onclick: () => unknown) =>
    h(
      "button",
      { type: "button", class: "icon", title, "aria-label": title, onclick: () => void onclick() },
      icon(name),
    );
  const undo = iconButton("undo", words.undo, back);
  const redo = iconButton("redo", words.redo, forth);
  big.canvas.addEventListener("dragstart", (event) => {
    event.dataTransfer?.setData(DRAGGED, code.join());
    if (event.dataTransfer) event.dataTransfer.effectAllowed = "copy";
  });

  const encodes = backend.encode !== undefined && space.verbs.includes("encode");
  const denoises = backend.denoise !== undefined && space.verbs.includes("denoise");
  const telling = space.condition.length ? toldPiece(here) : null;
  const sliders = slidersPiece(here, space.latent === 2);
  const map = mapPiece(here);
  const trays = traysPiece(here);
  const image = encodes ? imagePiece(here, denoises) : null;
  const tools: Partial<Record<Tool, Piece>> = {
    arithmetic: arithmeticPiece(here),
    between: betweenPiece(here),
    three: threePiece(here),
    ...(image && { image }),
    ...(backend.neighbours && { nearest: nearestPiece(here) }),
  };
  const panels = Object.fromEntries(
    Object.entries(tools).map(([name, { element }]) => [
      name,
      { title: words.tool[name as Tool], panel: h("div", { class: "x-tool" }, element) },
    ]),
  );
  const choice = tabs(words.tools, panels, (name) => here.view({ tool: name as Tool }));
  // Only the open tool decodes.
  const tool: Piece = {
    element: h(
      "section",
      { class: "panel stack x-tools" },
      choice.element,
      ...Object.values(panels).map(({ panel }) => panel),
    ),
    changed() {
      const open = tools[state.tool] ? state.tool : "arithmetic";
      choice.select(open);
      tools[open]!.changed?.();
    },
    charted: () => tools[state.tool]?.charted?.(),
    close: () => Object.values(tools).forEach((piece) => piece.close?.()),
  };

  const plane = space.latent === 2 ? planePiece(here) : null;
  const directions = space.directions.length ? directionsPiece(here) : null;
  plane?.element.append(sliders.element);
  pieces.push(...[telling, plane, sliders, directions, map, trays, tool].filter((piece): piece is Piece => piece !== null));

  const picture = h(
    "section",
    { class: "panel x-picture" },
    figure(big.canvas, words.picture),
    h(
      "div",
      { class: "x-buttons" },
      samples || encodes ? button(words.random, samples ? words.randomHint : words.randomImage, random) : null,
      button(words.nudge, words.nudgeHint, nudge),
      button(words.reset, words.resetHint, reset),
      h("div", { class: "bar" }, undo, redo),
      iconButton("copy", words.copy, copy),
      h(
        "div",
        { class: "x-add" },
        h("span", { class: "muted small" }, words.addTo),
        h(
          "div",
          { class: "bar" },
          ...TRAYS.map((name) =>
            button(name, `${words.add(name)} (${name.toLowerCase()})`, () => addTo(here, name), words.add(name)),
          ),
        ),
      ),
    ),
    error,
  );
  const keys = h(
    "details",
    { class: "panel" },
    h("summary", {}, words.keys),
    h(
      "dl",
      { class: "keys" },
      ...words.keyList.flatMap(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]),
    ),
  );

  const layout = h(
    "div",
    { class: "x-layout" },
    h("div", { class: "x-side" }, picture, telling?.element),
    h(
      "div",
      { class: "x-main" },
      (plane ?? sliders).element,
      map.element,
      directions?.element,
      trays.element,
      tool.element,
      keys,
    ),
  );
  const veil = h("div", { class: "x-veil", hidden: true }, words.dropAnywhere);
  const prior = words.prior(space.prior.kind, space.prior.bound);
  root.replaceChildren(
    h(
      "header",
      {},
      h("h1", {}, words.heading(space.name)),
      h("p", { class: "muted" }, words.about(space.recipe, space.data, space.latent, prior)),
    ),
    layout,
    veil,
  );
  root.style.setProperty("--head", `${document.querySelector<HTMLElement>(".head")?.offsetHeight ?? 0}px`);

  const give = (file: File) => {
    if (state.tool !== "image") here.view({ tool: "image" });
    image?.take(file);
  };
  const adding = Object.fromEntries(TRAYS.map((name) => [name.toLowerCase(), () => addTo(here, name)]));
  const listening = [
    onkeys({ ...adding, r: random, n: nudge, m: reset }, back, forth),
    ...(image ? [onfile(veil, give)] : []),
  ];

  take({});
  settled();
  backend.atlas().then(
    (atlas) => {
      if (closed) return;
      chart = atlas && new Chart(atlas, space.latent);
      for (const piece of pieces) piece.charted?.();
    },
    (reason) => {
      if (closed) return;
      for (const piece of pieces) piece.charted?.();
      fail(reason);
    },
  );

  return {
    changed(params: Params) {
      const wanted = read(params, space, start, ENDS, CORNERS);
      // Our own change comes back too, perhaps while the next drag is under way.
      if (!trail.follow(serial(wrote(wanted, params, ENDS, CORNERS)))) return;
      take(wanted);
      settled();
    },
    close() {
      closed = true;
      for (const end of listening) end();
      for (const piece of pieces) piece.close?.();
      decoder.close();
      backend.close();
    },
  };
}
