// Light, dark or as the system: remembered, and told to what draws on a canvas.

export type Theme = "auto" | "light" | "dark";
const KEY = "ganvas.theme";
const listeners = new Set<() => void>();

export function theme(): Theme {
  const kept = document.documentElement.dataset.theme;
  return kept === "light" || kept === "dark" ? kept : "auto";
}

function show(wanted: string | null): void {
  if (wanted === "light" || wanted === "dark") document.documentElement.dataset.theme = wanted;
  else delete document.documentElement.dataset.theme;
}

export function setTheme(wanted: Theme): void {
  show(wanted);
  try {
    localStorage.setItem(KEY, wanted);
  } catch {
    // A browser that keeps nothing: it holds until the page is left.
  }
  tell();
}

/** Calls back whenever colours change. Returns what ends it. */
export function onTheme(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(): void {
  for (const listener of listeners) listener();
}

/** At the start of a page: what was chosen last time. */
export function restoreTheme(): void {
  try {
    show(localStorage.getItem(KEY));
  } catch {
    show(null);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
}

const probe = document.createElement("i");
probe.hidden = true;

/** A named colour of style.css as a canvas takes it: `colour("--accent")`. */
export function colour(name: string): string {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

/** The name of the i-th colour of series. */
export function seriesColour(i: number): string {
  return `--c${(i % 8) + 1}`;
}
