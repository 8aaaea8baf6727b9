// What is asked of the server: JSON with errors that a person can read, and images over one binary WebSocket.

import type { Backend, Encoded, Told } from "./backend";
import type { Atlas, Space } from "./types";
import { shell } from "./words/shell";

type Query = Record<string, string | number | boolean>;

/** An answer of the server that is an error, or that did not come (status 0). Its message is a sentence for a person. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** An address of the server, such as of a picture: `url("api/picture", { run, file })`. */
export function url(path: string, query: Query = {}): string {
  const text = new URLSearchParams(Object.entries(query).map(([name, value]): [string, string] => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

/** The server's JSON. Throws `Refusal`. */
export async function ask<T>(path: string, query: Query = {}, init?: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(url(path, query), init);
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw new Refusal(shell.lost, 0);
  }
  const answer: unknown = await response.json().catch(() => null);
  if (!response.ok) throw new Refusal((answer as { error?: string } | null)?.error ?? shell.refused(response.status), response.status);
  if (answer === null) throw new Refusal(shell.badAnswer, response.status);
  return answer as T;
}

export function socket(path: string, query: Query = {}): WebSocket {
  const address = new URL(url(path, query), location.href);
  address.protocol = address.protocol.replace("http", "ws");
  return new WebSocket(address);
}

/** What a request says of what the model is told. */
function telling({ condition, guidance }: Told): Query {
  return Object.keys(condition).length ? { condition: JSON.stringify(condition), guidance } : {};
}

interface Request {
  sequence: number;
  told: string; // as the line is told it
  message: Uint8Array<ArrayBuffer>;
  resolve(pixels: Uint8Array | null): void;
  reject(error: Error): void;
}

const NOTHING = "condition=";

export class ServerBackend implements Backend {
  readonly thumbnails: string;
  private line: WebSocket | null = null;
  private sequence = 0;
  private flying: Request | null = null;
  private waiting: Request | null = null;
  private told = NOTHING; // what the line was told last
  private closed = false;

  /** @param run The run's id. */
  constructor(private readonly run: string) {
    this.thumbnails = url("api/atlas.png", { run });
  }

  space(): Promise<Space> {
    return ask("api/space", { run: this.run });
  }

  atlas(): Promise<Atlas | null> {
    return ask<Atlas>("api/atlas", { run: this.run }).catch((error: unknown) => {
      if (error instanceof Refusal && (error.status === 404 || error.status === 409)) return null;
      throw error;
    });
  }

  async samples(n: number, seed: number, told: Told): Promise<Float32Array[]> {
    const { codes } = await ask<{ codes: number[][] }>("api/samples", { run: this.run, n, seed, ...telling(told) });
    return codes.map((code) => Float32Array.from(code));
  }

  async encode(image: Blob, told: Told): Promise<Encoded> {
    const found = await ask<{ code: number[]; seen: string; reconstruction: string }>("api/encode", { run: this.run, ...telling(told) }, { method: "POST", body: image });
    return { ...found, code: Float32Array.from(found.code) };
  }

  denoise(image: Blob, noise: number, seed: number, told: Told): Promise<{ seen: string; noisy: string; denoised: string }> {
    return ask("api/denoise", { run: this.run, noise, seed, ...telling(told) }, { method: "POST", body: image });
  }

  neighbours(codes: Float32Array, n: number, k: number, told: Told): Promise<{ rows: number[][]; distances: number[][]; images: string[][] }> {
    const body = new Uint8Array(codes.slice(0, codes.length).buffer);
    if (codes.length % n) throw new RangeError(`${codes.length} numbers are no ${n} codes of one length`);
    return ask("api/neighbours", { run: this.run, k, ...telling(told) }, { method: "POST", body });
  }

  decode(z: Float32Array, n: number, told: Told): Promise<Uint8Array | null> {
    if (this.closed) return Promise.resolve(null);
    if (n < 1 || z.length % n) throw new RangeError(`${z.length} numbers are no ${n} codes of one length`);
    const sequence = (this.sequence = (this.sequence + 1) >>> 0);
    const message = new Uint8Array(4 + z.byteLength);
    new DataView(message.buffer).setUint32(0, sequence, true);
    message.set(new Uint8Array(z.buffer, z.byteOffset, z.byteLength), 4);
    return new Promise((resolve, reject) => {
      this.waiting?.resolve(null);
      this.waiting = { sequence, told: url("", telling(told)).slice(1) || NOTHING, message, resolve, reject };
      this.send();
    });
  }

  close(): void {
    this.closed = true;
    for (const request of [this.flying, this.waiting]) request?.resolve(null);
    this.flying = this.waiting = null;
    // One that is not open yet closes when it is: browsers complain about the other way.
    if (this.line?.readyState === WebSocket.OPEN) this.line.close();
  }

  private send(): void {
    if (!this.line) return this.connect();
    if (this.flying || !this.waiting || this.line.readyState !== WebSocket.OPEN) return;
    this.flying = this.waiting;
    this.waiting = null;
    if (this.flying.told !== this.told) this.line.send((this.told = this.flying.told));
    this.line.send(this.flying.message);
  }

  private connect(): void {
    const line = (this.line = socket("ws/decode", { run: this.run }));
    let opened = false;
    this.told = NOTHING;
    line.binaryType = "arraybuffer";
    line.onopen = () => {
      opened = true;
      if (this.closed) line.close();
      else this.send();
    };
    line.onmessage = (event: MessageEvent<ArrayBuffer | string>) => this.receive(event.data);
    line.onclose = (event) => {
      this.line = null;
      if (this.closed) return;
      // What was under way is asked again on the next line, unless something newer waits.
      if (this.flying && !this.waiting) this.waiting = this.flying;
      else this.flying?.resolve(null);
      this.flying = null;
      if (!this.waiting) return;
      if (opened && !event.reason) return this.connect();
      this.waiting.reject(new Refusal(event.reason || shell.lost, 0));
      this.waiting = null;
    };
  }

  private receive(data: ArrayBuffer | string): void {
    const request = this.flying;
    if (typeof data === "string") {
      const { sequence, error } = JSON.parse(data) as { sequence: number; error: string };
      if (request?.sequence !== sequence) return;
      request.reject(new Refusal(error, 400));
    } else {
      if (request?.sequence !== new DataView(data).getUint32(0, true)) return;
      request.resolve(new Uint8Array(data, 4));
    }
    this.flying = null;
    this.send();
  }
}
