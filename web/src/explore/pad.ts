// A square on which one drags with mouse, pen, touch or arrow keys.

interface Handlers {
  /** While dragged: x to the right and y upwards, from 0 to 1. */
  drag(x: number, y: number, began: boolean): void;
  /** The drag is over. */
  drop(): void;
  /** An arrow key, while held: -1, 0 or 1 times the step; 5 with Shift. */
  nudge(x: number, y: number): void;
  /** A press that did not move. Without it a press is a drag already. */
  click?(x: number, y: number): void;
  hover?(x: number, y: number): void;
  leave?(): void;
  enter?(): void;
}

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};
const STILL = 4; // pixels that a finger may slip in a click

export function pad(element: HTMLElement, on: Handlers): void {
  let box: DOMRect | null = null; // read once a drag: reading it at each move would lay the page out
  let began: [number, number] | null = null;
  let at: [number, number] = [0, 0];
  let dragging = false;
  let nudged = false;
  const place = (event: PointerEvent, inside: DOMRect): [number, number] => [
    Math.min(1, Math.max(0, (event.clientX - inside.left) / inside.width)),
    Math.min(1, Math.max(0, 1 - (event.clientY - inside.top) / inside.height)),
  ];
  element.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    element.setPointerCapture(event.pointerId);
    box = element.getBoundingClientRect();
    began = at = [event.clientX, event.clientY];
    dragging = !on.click;
    if (dragging) on.drag(...place(event, box), true);
  });
  const moved = (event: PointerEvent) => {
    if (!began || !box) return;
    const [x, y] = at;
    at = [event.clientX, event.clientY];
    if (at[0] === x && at[1] === y) return;
    if (!dragging && Math.hypot(at[0] - began[0], at[1] - began[1]) < STILL) return;
    on.drag(...place(event, box), !dragging);
    dragging = true;
  };
  // Browsers keep pointermove for their next frame, up to 17 ms; where they have the other, it comes at once.
  element.addEventListener("pointerrawupdate", (event) => moved(event as PointerEvent));
  element.addEventListener("pointermove", (event) => {
    if (began) moved(event);
    else if (event.pointerType !== "touch") on.hover?.(...place(event, element.getBoundingClientRect()));
  });
  const over = (event: PointerEvent) => {
    if (!began || !box) return;
    const clicked = !dragging && event.type === "pointerup";
    began = null;
    if (clicked) on.click?.(...place(event, box));
    else if (dragging) on.drop();
    dragging = false;
  };
  element.addEventListener("pointerup", over);
  element.addEventListener("pointercancel", over);
  element.addEventListener("pointerleave", () => on.leave?.());
  element.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow) {
      const far = event.shiftKey ? 5 : 1;
      on.nudge(arrow[0] * far, arrow[1] * far);
      nudged = true;
    } else if (event.key === "Enter" && on.enter) on.enter();
    else return;
    event.preventDefault();
  });
  const settle = () => {
    if (nudged) on.drop();
    nudged = false;
  };
  element.addEventListener("keyup", (event) => event.key in ARROWS && settle());
  element.addEventListener("blur", settle);
}

/** Puts a mark at (x, y) of a square of `size` pixels; beyond its edges it stays at them. */
export function put(mark: HTMLElement, size: number, x: number, y: number): void {
  const inside = (v: number) => Math.min(1, Math.max(0, v)) * size;
  mark.style.transform = `translate(${inside(x)}px, ${inside(1 - y)}px)`;
}

/** Calls back with the width of an element, now and when it changes. */
export function sized(element: HTMLElement, done: (width: number) => void): () => void {
  const observer = new ResizeObserver(() => done(element.clientWidth));
  observer.observe(element);
  return () => observer.disconnect();
}
