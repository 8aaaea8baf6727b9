// The map: encoded test images on a plane of the latent space, the prior drawn over them.

import { h } from "../dom";
import { colour, onTheme } from "../ui/theme";
import { words } from "../words/explore";
import type { Chart } from "./chart";
import { saveButton, styled } from "./draw";
import type { Here, Piece } from "./here";
import { rounded } from "./latent";
import { pad, put, sized } from "./pad";

// Told apart by colour-blind eyes (after Okabe & Ito 2008 and Tol 2021), one set for each ground.
const LIGHT = [
  "#0072b2",
  "#e08a00",
  "#009e73",
  "#cc5a96",
  "#3fa9e0",
  "#c23b10",
  "#332288",
  "#8a8a00",
  "#7a1f4d",
  "#6e6e6e",
];
const DARK = [
  "#4da3ff",
  "#ffb000",
  "#2fd0a0",
  "#ff8fc4",
  "#9fe0ff",
  "#ff6f4d",
  "#b39bff",
  "#d6d04a",
  "#d77aa8",
  "#c4c4c4",
];
const NEAR = 16; // pixels from the pointer within which a point is meant

export interface MapPiece extends Piece {
  /** The next click chooses a point for somebody else. */
  pick(done: (index: number) => void): void;
}

export function mapPiece(here: Here): MapPiece {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const context = canvas.getContext("2d")!;
  const mark = h("div", { class: "x-mark" });
  const ring = h("div", { class: "x-ring", hidden: true });
  const thumbnail = h("canvas", { class: "x-thumb", "aria-hidden": "true" });
  const tipText = h("span");
  const tip = h("div", { class: "x-tip", hidden: true }, thumbnail, tipText);
  const read = h("span", { class: "hidden-text", "aria-live": "polite" });
  const square = h(
    "div",
    { class: "x-pad", tabindex: 0, role: "application", "aria-label": words.map, "aria-describedby": "x-map-keys" },
    canvas,
    ring,
    mark,
    tip,
  );
  const names = [h("b"), h("b")];
  const label = h("select", { "aria-label": words.colour, onchange: () => here.view({ by: label.value }) });
  const legend = h("div", { class: "x-legend" });
  const note = h("p", { class: "muted small" }, words.mapLoading);
  const asking = h("div", { class: "x-asking", role: "status" });
  const body = h(
    "div",
    { class: "x-axes x-loading" },
    square,
    h(
      "div",
      { class: "x-ticks", "aria-hidden": "true" },
      h("div", { class: "x-across" }, names[0]),
      h("div", { class: "x-up" }, names[1]),
    ),
  );
  const element = h(
    "section",
    { class: "panel" },
    h(
      "header",
      { class: "x-head" },
      h("h2", {}, words.map),
      h("label", { class: "field inline" }, label),
      saveButton(canvas, words.map),
    ),
    asking,
    body,
    legend,
    note,
    h("span", { class: "hidden-text", id: "x-map-keys" }, words.mapKeys),
    read,
  );

  let size = 0;
  let low: [number, number] = [0, 0];
  let span: [number, number] = [1, 1];
  let lit = -1; // the value that the legend points at
  let picking: ((index: number) => void) | null = null;
  const sprite = new Image();

  const place = (x: number, y: number): [number, number] => [(x - low[0]) / span[0], (y - low[1]) / span[1]];
  const moved = () => {
    if (!here.chart) return;
    put(mark, size, ...place(...here.chart.where(here.code)));
  };

  /** A square that holds nearly all points and most of the prior. */
  const measure = (chart: Chart) => {
    const ends = [0, 1].map((axis) => {
      const values = Float32Array.from({ length: chart.n }, (_, i) => chart.points[2 * i + axis]!).sort();
      const [first, last] = [
        values[Math.floor(0.004 * (chart.n - 1))] ?? -1,
        values[Math.ceil(0.996 * (chart.n - 1))] ?? 1,
      ];
      const [centre, sd] = [middle(chart)[axis]!, chart.atlas.prior[axis]!];
      return [Math.min(first, centre - 2 * sd), Math.max(last, centre + 2 * sd)] as const;
    });
    const width = Math.max(...ends.map(([first, last]) => last - first)) * 1.06;
    span = [width, width];
    low = ends.map(([first, last]) => (first + last - width) / 2) as [number, number];
  };

  const chosen = () =>
    here.chart?.atlas.labels.find(({ name }) => name === here.state.by) ?? here.chart?.atlas.labels[0];

  const draw = () => {
    const chart = here.chart;
    if (!chart || !size) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = dim(colour("--panel")) ? DARK : LIGHT;
    const of = chosen()?.of;
    const radius = Math.max(1.6, Math.min(3, size / 150));
    for (const front of [false, true]) {
      for (let i = 0; i < chart.n; i++) {
        const value = of ? of[i]! : 0;
        const isLit = lit < 0 || value === lit;
        if (isLit !== front) continue;
        const [x, y] = place(chart.points[2 * i]!, chart.points[2 * i + 1]!);
        context.globalAlpha = isLit ? 0.85 : 0.12;
        context.fillStyle = value < 0 ? colour("--edge") : colours[value % colours.length]!; // below 0: not known
        context.beginPath();
        if (value < colours.length) context.arc(x * size, (1 - y) * size, radius, 0, 7);
        else context.rect(x * size - radius, (1 - y) * size - radius, 2 * radius, 2 * radius);
        context.fill();
      }
    }
    context.globalAlpha = 1;
    context.strokeStyle = colour("--text");
    const [x, y] = place(...middle(chart));
    for (const sds of [1, 2]) {
      const [a, b] = chart.atlas.prior.map((sd, axis) => ((sds * sd) / span[axis]!) * size) as [number, number];
      if (!(a > 0 && b > 0)) continue;
      context.setLineDash(sds === 1 ? [] : [5, 4]);
      context.lineWidth = 1.25;
      context.beginPath();
      context.ellipse(x * size, (1 - y) * size, a, b, 0, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
  };

  const drawLegend = () => {
    const label = chosen();
    const colours = dim(colour("--panel")) ? DARK : LIGHT;
    const light = (value: number) => {
      lit = value;
      draw();
    };
    const entries = (label?.values ?? []).map((value, i) =>
      h(
        "button",
        {
          type: "button",
          class: "x-entry",
          onpointerenter: () => light(i),
          onpointerleave: () => light(-1),
          onfocus: () => light(i),
          onblur: () => light(-1),
        },
        styled(h("i"), `background: ${colours[i % colours.length]}${i < colours.length ? "" : "; border-radius: 0"}`),
        value,
      ),
    );
    const prior = here.chart?.atlas.prior.every((sd) => sd > 0);
    legend.replaceChildren(
      ...entries,
      ...(prior ? [h("span", { class: "x-entry" }, h("i", { class: "x-ellipse" }), words.prior12)] : []),
    );
  };

  const show = (index: number | null) => {
    ring.hidden = tip.hidden = index === null;
    const chart = here.chart;
    if (index === null || !chart) return;
    const [x, y] = place(chart.points[2 * index]!, chart.points[2 * index + 1]!);
    put(ring, size, x, y);
    const { width, height } = here.shape;
    thumbnail.width = width;
    thumbnail.height = height;
    if (sprite.complete && sprite.naturalWidth) {
      const columns = chart.atlas.columns;
      thumbnail
        .getContext("2d")!
        .drawImage(
          sprite,
          (index % columns) * width,
          Math.floor(index / columns) * height,
          width,
          height,
          0,
          0,
          width,
          height,
        );
    }
    tipText.textContent = chart.label(index) || title(index);
    tip.classList.toggle("x-left", x > 0.5);
    tip.classList.toggle("x-below", y > 0.6);
    put(tip, size, x, y);
  };
  const title = (index: number) =>
    (here.chart?.atlas.of === "samples" ? words.sample : words.point)(here.chart?.atlas.rows[index] ?? index);
  const nearest = (u: number, v: number) =>
    here.chart?.nearest(low[0] + u * span[0], low[1] + v * span[1], [size / span[0], size / span[1]]);

  const choose = (index: number) => {
    const done = picking;
    ask(null);
    if (done) return done(index);
    read.textContent = `${title(index)}: ${here.chart!.label(index)}`;
    here.visit(here.chart!.code(index));
  };
  const ask = (done: typeof picking) => {
    picking = done;
    element.classList.toggle("x-picking", done !== null);
    asking.replaceChildren(
      ...(done
        ? [words.pick, " ", h("button", { type: "button", class: "quiet", onclick: () => ask(null) }, words.cancel)]
        : []),
    );
    if (done) {
      element.scrollIntoView({ block: "nearest" });
      square.focus({ preventScroll: true });
    }
  };

  const go = (u: number, v: number) => {
    const [x, y] = here.chart!.where(here.code);
    const z = here.chart!.moved(here.state.z, low[0] + u * span[0] - x, low[1] + v * span[1] - y);
    here.move({ z: z.map(rounded) });
  };
  const nearestHere = () => here.chart?.nearest(...here.chart.where(here.code)).index ?? null;
  const focused = () => square.matches(":focus-visible");
  pad(square, {
    drag: (u, v) => {
      show(null);
      if (here.chart) go(u, v);
    },
    drop: () => {
      here.step();
      if (focused()) show(nearestHere());
    },
    nudge: (dx, dy) => {
      if (!here.chart) return;
      const z = here.chart.moved(here.state.z, (dx * span[0]) / 100, (dy * span[1]) / 100);
      here.move({ z: z.map(rounded) });
      show(nearestHere());
    },
    click: (u, v) => {
      const found = nearest(u, v);
      if (!found) return;
      if (picking || found.distance <= NEAR) return choose(found.index);
      go(u, v);
      here.step();
    },
    hover: (u, v) => {
      const found = nearest(u, v);
      show(found && (picking || found.distance <= NEAR) ? found.index : null);
    },
    leave: () => show(focused() ? nearestHere() : null),
    enter: () => {
      const index = nearestHere();
      if (index !== null) choose(index);
    },
  });
  square.addEventListener("focus", () => focused() && show(nearestHere()));
  square.addEventListener("blur", () => show(null));
  square.addEventListener("keydown", (event) => event.key === "Escape" && ask(null));

  let by: string | undefined;
  const changed = () => {
    if (!here.chart) return;
    const name = chosen()?.name;
    if (name !== by) {
      by = name;
      if (name) label.value = name;
      drawLegend();
      draw();
    }
    moved();
  };
  const charted = () => {
    const chart = here.chart;
    body.classList.remove("x-loading");
    if (!chart) {
      body.hidden = true;
      note.textContent = words.mapNone;
      return;
    }
    sprite.src = here.backend.thumbnails;
    measure(chart);
    chart.atlas.axes.slice(0, 2).forEach((axis, i) => (names[i]!.textContent = axis));
    label.replaceChildren(...chart.atlas.labels.map(({ name }) => h("option", { value: name }, name)));
    label.parentElement!.hidden = chart.atlas.labels.length < 2;
    note.textContent = words.mapOf(chart.n, chart.atlas.of, here.space.condition.length > 0);
    drawLegend();
    draw();
    changed();
  };
  const repaint = () => {
    drawLegend();
    draw();
  };
  const unpaint = onTheme(repaint);
  const unsize = sized(square, (width) => {
    size = width;
    draw();
    moved();
  });
  return {
    element,
    moved,
    changed,
    charted,
    pick: ask,
    close: () => {
      unpaint();
      unsize();
    },
  };
}

/** The prior's centre on the plane: the code 0. */
function middle(chart: Chart): [number, number] {
  return chart.where(chart.atlas.mean.map(() => 0));
}

/** Whether a colour, as the browser computes it, is a dark one. */
function dim(colour: string): boolean {
  const [red = 255, green = 255, blue = 255] = colour.match(/[\d.]+/g)?.map(Number) ?? [];
  return red + green + blue < 384;
}
