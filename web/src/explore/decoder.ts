// Who may ask the model next. The big picture comes first, and of its codes only the latest counts; sheets of many
// images come in parts, in between, and not while something is dragged.

import type { Backend, Told } from "../backend";
import { flat, type Code } from "./latent";

interface Job {
  codes: Code[];
  told: Told;
  done: number;
  part(start: number, pixels: Uint8Array, n: number): void;
  signal: AbortSignal | undefined;
  resolve(): void;
  reject(error: unknown): void;
}

const PART = 25; // milliseconds that a part of a sheet may hold up a drag that begins
const REMEMBERED = 400; // images

export class Decoder {
  /** What the model is told of what is asked from now on. */
  told: Told = { condition: {}, guidance: 1 };
  /** While something is dragged sheets wait. */
  held = false;
  private busy = false;
  private closed = false;
  private latest: { code: Code; told: Told; resolve(pixels: Uint8Array | null): void; reject(error: unknown): void } | null = null;
  private jobs: Job[] = [];
  private each = 1; // milliseconds an image, as measured
  private memory = new Map<string, Promise<Uint8Array>>();

  constructor(
    private backend: Backend,
    /** Bytes of an image. */
    private size: number,
  ) {}

  /** The image of a code; null when another one was asked for before its turn came. */
  one(code: Code): Promise<Uint8Array | null> {
    this.latest?.resolve(null);
    return new Promise((resolve, reject) => {
      this.latest = { code, told: this.told, resolve, reject };
      void this.next();
    });
  }

  /** The images of many codes, given part by part. */
  many(codes: Code[], part: Job["part"], signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.jobs.push({ codes, told: this.told, done: 0, part, signal, resolve, reject });
      void this.next();
    });
  }

  /** The images of a few codes; those seen lately are remembered. */
  images(codes: Code[]): Promise<Uint8Array[]> {
    const missing: Code[] = [];
    const waiting: { resolve(image: Uint8Array): void; reject(error: unknown): void; key: string }[] = [];
    const wanted = codes.map((code) => {
      const key = `${JSON.stringify(this.told)} ${Array.from(code).join()}`;
      let image = this.memory.get(key);
      if (!image) {
        image = new Promise((resolve, reject) => {
          missing.push(code);
          waiting.push({ resolve, reject, key });
        });
        this.memory.set(key, image);
        if (this.memory.size > REMEMBERED) this.memory.delete(this.memory.keys().next().value!);
      }
      return image;
    });
    if (missing.length) {
      const split = (start: number, pixels: Uint8Array, n: number) => {
        for (let i = 0; i < n; i++) waiting[start + i]!.resolve(pixels.slice(i * this.size, (i + 1) * this.size));
      };
      this.many(missing, split).catch((error) => {
        for (const { reject, key } of waiting) {
          this.memory.delete(key);
          reject(error);
        }
      });
    }
    return Promise.all(wanted);
  }

  /** Something was let go. */
  release(): void {
    this.held = false;
    void this.next();
  }

  close(): void {
    this.closed = true;
    this.latest = null;
    this.jobs = [];
  }

  private async next(): Promise<void> {
    if (this.busy || this.closed) return;
    this.busy = true;
    try {
      for (;;) {
        if (this.latest) {
          const { code, told, resolve, reject } = this.latest;
          this.latest = null;
          await this.backend.decode(Float32Array.from(code), 1, told).then(resolve, reject);
        } else if (this.jobs.length && !this.held) await this.part(this.jobs[0]!);
        else break;
        if (this.closed) break;
      }
    } finally {
      this.busy = false;
    }
  }

  private async part(job: Job): Promise<void> {
    const over = () => void this.jobs.splice(this.jobs.indexOf(job), 1);
    if (job.signal?.aborted) {
      over();
      return job.resolve();
    }
    const n = Math.max(1, Math.min(256, Math.floor(PART / this.each), job.codes.length - job.done));
    const began = performance.now();
    try {
      const pixels = await this.backend.decode(flat(job.codes.slice(job.done, job.done + n)), n, job.told);
      if (!pixels || job.signal?.aborted) return;
      this.each = 0.5 * this.each + 0.5 * Math.max(0.01, (performance.now() - began) / n);
      job.part(job.done, pixels, n);
      job.done += n;
      if (job.done < job.codes.length) return;
      over();
      job.resolve();
    } catch (error) {
      over();
      job.reject(error);
    }
  }
}
