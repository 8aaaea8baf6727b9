// What the whole document listens to while the page is open. Each returns what ends it.

/** Image files that are dropped or pasted anywhere; `veil` is shown while one is dragged. */
export function onfile(veil: HTMLElement, give: (file: File) => void): () => void {
  const leave = new AbortController();
  const listen = listener(leave.signal);
  const files = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  const first = (list: FileList | undefined, wanted: (file: File) => boolean = () => true) => {
    const file = [...(list ?? [])].find(wanted);
    if (file) give(file);
  };
  listen("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  listen("dragleave", (event) => {
    if (!event.relatedTarget) veil.hidden = true;
  });
  listen("drop", (event) => {
    veil.hidden = true;
    if (!files(event)) return;
    event.preventDefault();
    first(event.dataTransfer?.files);
  });
  listen("paste", (event) => first(event.clipboardData?.files, (file) => file.type.startsWith("image/")));
  return () => leave.abort();
}

/** Keys, where nobody types: `keys` by their letter, and undo and redo. */
export function onkeys(keys: Record<string, () => unknown>, undo: () => unknown, redo: () => unknown): () => void {
  const leave = new AbortController();
  let before = { key: "", time: 0 };
  listener(leave.signal)("keydown", (event) => {
    const typing = "select, textarea, input:not([type=range], [type=checkbox])";
    if ((event.target as HTMLElement).matches(typing) || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const shortcut = before.key === "g" && event.timeStamp - before.time < 1500; // "g" begins one of the shell's
    before = { key, time: event.timeStamp };
    if (event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (key === "z" && !event.shiftKey) undo();
      else if (key === "y" || key === "z") redo();
      else return;
      event.preventDefault();
    } else if (!shortcut && !event.repeat) keys[key]?.();
  });
  return () => leave.abort();
}

function listener(signal: AbortSignal) {
  return <K extends keyof DocumentEventMap>(type: K, done: (event: DocumentEventMap[K]) => void): void =>
    document.addEventListener(type, done, { signal });
}
