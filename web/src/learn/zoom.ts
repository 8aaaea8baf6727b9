// A picture that can be enlarged: drag, wheel, pinch, or the keys + - 0 and the arrows.

import { h } from "../dom";
import { learn } from "../words/learn";

const MOST = 8;

/** Shows the picture over the page; closed by Esc, the button, or a click beside it. */
export function zoom(source: string, title: string, [wide, high]: [number, number]): void {
  const image = h("img", { src: source, alt: learn.picture(title), draggable: "false", width: wide, height: high });
  const view = h("div", { class: "zoom-view", tabindex: 0, "aria-label": learn.zoomed }, image);
  const button = (text: string, act: () => void): HTMLElement => h("button", { type: "button", onclick: act }, text);
  const dialog = h("dialog", { class: "zoom", "aria-label": title },
    h("div", { class: "row spread" },
      h("div", { class: "bar" }, button(learn.larger, () => by(1.5)), button(learn.smaller, () => by(1 / 1.5)), button(learn.fit, () => fit())),
      h("span", { class: "muted small learn-wide" }, learn.zoomed),
      button(learn.close, () => dialog.close())),
    view);
  let [x, y, scale, least] = [0, 0, 1, 1];

  const show = (): void => {
    // What is smaller than the view stays in its middle; what is larger covers it.
    const keep = (place: number, size: number, room: number): number => (size < room ? (room - size) / 2 : Math.min(0, Math.max(room - size, place)));
    x = keep(x, wide * scale, view.clientWidth);
    y = keep(y, high * scale, view.clientHeight);
    image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  };
  const by = (factor: number, atX = view.clientWidth / 2, atY = view.clientHeight / 2): void => {
    const next = Math.min(MOST * least, Math.max(least, scale * factor));
    x = atX - ((atX - x) * next) / scale;
    y = atY - ((atY - y) * next) / scale;
    scale = next;
    show();
  };
  const fit = (): void => {
    scale = least = Math.min(view.clientWidth / wide, view.clientHeight / high);
    show();
  };

  const fingers = new Map<number, { x: number; y: number }>();
  view.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.offsetX, y: event.offsetY };
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (p: { x: number; y: number }): number => Math.hypot(p.x - other.x, p.y - other.y) || 1;
      by(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else {
      x += now.x - before.x;
      y += now.y - before.y;
      show();
    }
    fingers.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"] as const) view.addEventListener(end, (event) => fingers.delete(event.pointerId));
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    by(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  }, { passive: false });
  view.addEventListener("dblclick", (event) => by(2, event.offsetX, event.offsetY));
  dialog.addEventListener("keydown", (event) => {
    const moved: Record<string, () => void> = {
      "+": () => by(1.5), "=": () => by(1.5), "-": () => by(1 / 1.5), "0": fit,
      ArrowLeft: () => ((x += 60), show()), ArrowRight: () => ((x -= 60), show()), ArrowUp: () => ((y += 60), show()), ArrowDown: () => ((y -= 60), show()),
    };
    if (!moved[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    moved[event.key]!();
  });
  const sized = new ResizeObserver(fit);
  dialog.addEventListener("close", () => {
    sized.disconnect();
    dialog.remove();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  sized.observe(view);
  view.focus();
}
