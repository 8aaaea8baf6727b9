// The page's side of /ws/play, see src/ganvas/studio/playground.py.

import { socket } from "../server";

export interface Options {
  losses: Record<string, string>;
  techniques: Record<string, { value: number | boolean; says: string }>;
  games: Record<string, Record<string, unknown>>;
}

/** What a picture holds: facts, and arrays in the order of the game's own description. */
export interface Picture {
  facts: { step: number; speed: number; losses: Record<string, number>; scene: boolean } & Record<string, unknown>;
  arrays: (Float32Array | Uint8Array)[];
}

export interface Listener {
  options(options: Options): void;
  scene(picture: Picture): void;
  picture(picture: Picture): void;
  /** Settings that are refused, or a training that broke. */
  refused(message: string): void;
  /** The last word, null where the server was never there. */
  ended(message: string | null): void;
}

export class Player {
  private readonly line: WebSocket;
  private latest: Picture | null = null;
  private frame = 0;
  private heard = false;
  private done = false;

  constructor(private readonly listener: Listener) {
    this.line = socket("ws/play");
    this.line.binaryType = "arraybuffer";
    this.line.onmessage = (event: MessageEvent<ArrayBuffer | string>) => this.receive(event.data);
    this.line.onclose = () => this.end(null);
  }

  say(words: Record<string, unknown>): void {
    if (this.line.readyState === WebSocket.OPEN) this.line.send(JSON.stringify(words));
  }

  close(): void {
    this.done = true;
    cancelAnimationFrame(this.frame);
    this.line.close();
  }

  private end(message: string | null): void {
    if (this.done) return;
    this.close();
    this.listener.ended(message ?? (this.heard ? "" : null));
  }

  private receive(data: ArrayBuffer | string): void {
    if (this.done) return;
    this.heard = true;
    if (typeof data === "string") {
      const words = JSON.parse(data) as { options?: Options; error?: string; ended?: string };
      if (words.options) this.listener.options(words.options);
      if (words.error !== undefined) this.listener.refused(words.error);
      if (words.ended !== undefined) this.end(words.ended);
      return;
    }
    const picture = unpack(data);
    if (picture.facts.scene) {
      this.latest = null;
      this.listener.scene(picture);
      return;
    }
    // Drawn when the browser draws; in a hidden tab it does not, so no more come and the training rests.
    this.latest = picture;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (this.latest) this.listener.picture(this.latest);
      this.say({ seen: true });
    });
  }
}

export function unpack(data: ArrayBuffer): Picture {
  const length = new DataView(data).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length))) as Picture["facts"] & { arrays: [string, number[]][] };
  let place = 4 + length;
  const arrays = facts.arrays.map(([kind, shape]) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const array = kind === "uint8" ? new Uint8Array(data, place, n) : new Float32Array(data, place, n);
    place += Math.ceil(array.byteLength / 4) * 4;
    return array;
  });
  return { facts, arrays };
}
