// Text that every page shares. All text of the page lies in this folder.

const whole = new Intl.NumberFormat("en");

export const shell = {
  title: "ganvas studio",
  name: "ganvas",
  pages: { runs: "Runs", watch: "Watch", explore: "Explore", learn: "Learn" } as Record<string, string>,
  navigation: "Pages",
  skip: "Skip to the content",
  theme: "Theme",
  themes: { auto: "As the system", light: "Light", dark: "Dark" },
  nextTheme: (now: string) => `Theme: ${now.toLowerCase()}. Press to change it.`,
  connected: "Live",
  reconnecting: "Reconnecting …",
  lost: "The studio's server does not answer. Is it still running?",
  lostBanner: "The studio's server does not answer. Is “ganvas studio” still running? The page tries again by itself.",
  back: "The server answers again.",
  refused: (status: number) => `The server refused this (status ${status}).`,
  badAnswer: "The server sent an answer that this page does not understand. Reload the page after an update.",
  loading: "Loading …",
  failed: "This page could not be shown.",
  again: "Try again",
  unknown: (page: string) => `There is no page "${page}".`,
  toRuns: "Show the runs",
  copy: "Copy",
  copied: "Copied.",
  cannotCopy: "The browser does not let this page copy. Select the text and copy it.",
  close: "Close",
  help: "Keyboard shortcuts",
  keys: {
    "g r": "Runs",
    "g w": "Watch",
    "g e": "Explore",
    "g l": "Learn",
    "/": "Filter the runs",
    "← →": "Move a slider: earlier or later, less or more",
    "?": "This list",
  } as Record<string, string>,
  states: {
    new: "New",
    running: "Running",
    interrupted: "Interrupted",
    failed: "Failed",
    finished: "Finished",
    bad: "Unreadable",
  } as Record<string, string>,
  chart: {
    step: "step",
    log: "log",
    logTitle: "Logarithmic scale",
    /** For screen readers: what a chart shows. */
    summary: (title: string, lines: string[]) => `${title}. ${lines.length ? `Last values: ${lines.join(", ")}.` : "No values yet."} The arrow keys read values along the way.`,
  },
  progress: (done: number) => `${Math.floor(100 * done)} %`,
  steps: (step: number) => whole.format(step),
  /** "1 h 5 min", "2 min 10 s", "8 s". */
  duration(seconds: number): string {
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return `${s} s`;
    if (s < 600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    const m = Math.round(s / 60);
    if (m < 60) return `${m} min`;
    if (m < 60 * 48) return `${Math.floor(m / 60)} h ${m % 60} min`;
    return `${Math.round(m / 60 / 24)} days`;
  },
  left: (seconds: number) => `${shell.duration(seconds)} left`,
  /** "just now", "5 min ago", "3 days ago". */
  ago(seconds: number): string {
    if (seconds < 45) return "just now";
    const m = Math.max(1, Math.round(seconds / 60));
    if (m < 60) return `${m} min ago`;
    const hours = Math.round(m / 60);
    if (hours < 48) return `${hours} h ago`;
    return `${Math.round(hours / 24)} days ago`;
  },
};
