// What a page is given, and the state in the address: "#/explore?run=vae&z=0.1,0.2".

export type Params = URLSearchParams;

export interface App {
  readonly params: Params;
  /** Another page, or another state of this one that "back" returns from. */
  go(page: string, params: Record<string, string>): void;
  /** A state of this page that "back" does not stop at: while something is dragged. */
  replace(params: Record<string, string>): void;
  /** Says something to the user, for screen readers too. */
  say(text: string): void;
}

/**
 * A page fills `root`; it returns what tidies up. `changed` is called when the address changes within the page, which is
 * all that comes before the first "/": "learn/NAME" is of the page "learn". The document's title is set before either is
 * called; a page that knows a better one sets it then.
 */
export interface Mounted {
  changed?(params: Params): void;
  close(): void;
}
export type Page = (root: HTMLElement, app: App) => Mounted | Promise<Mounted>;

export function address(page: string, params: Record<string, string> | Params = {}): string {
  const text = new URLSearchParams(params).toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  return `#/${page}${text ? `?${text}` : ""}`;
}

export function parse(hash: string): { page: string; params: Params } {
  const [page = "", text = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { page: page || "runs", params: new URLSearchParams(text) };
}
