// The back end of an exported page: the model runs in the browser, by onnxruntime-web.

import type { Backend, Encoded, Told } from "./backend";
import { read } from "./fit";
import type { Answer, Ask, Labels } from "./onnx-worker";
import OnnxWorker from "./onnx-worker?worker&inline";
import type { Atlas, Space } from "./types";
import { words } from "./words/exported";

/** Where the exported files are. */
export interface Files {
  bytes(name: string): Promise<ArrayBuffer>;
  /** onnxruntime-web's WebAssembly. */
  runtime(): Promise<ArrayBuffer>;
  /** An address for an <img>. */
  picture(name: string): string;
}

/** What an exported space.json also says. */
export type ExportedSpace = Space & {
  /** That a denoising autoencoder takes away. */
  noise?: "gaussian" | "masking" | "salt-and-pepper";
  /** What was black and white in the training, where that is known. */
  range?: [number, number] | null;
};

type Question = Ask extends infer A ? (A extends Ask ? Omit<A, "id"> : never) : never;

/** ONNX files in a worker; each is loaded when it is first asked. */
class Models {
  private readonly worker = new OnnxWorker();
  private readonly open = new Map<number, { resolve(result: never): void; reject(error: Error): void }>();
  private readonly loaded = new Map<string, Promise<number>>();
  private readonly ready: Promise<unknown>;
  private id = 0;

  constructor(private readonly files: Files) {
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const { resolve, reject } = this.open.get(data.id)!;
      this.open.delete(data.id);
      if ("error" in data) reject(new Error(data.error));
      else resolve(data.result as never);
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.open.values()) reject(new Error(event.message || words.worker));
      this.open.clear();
    };
    this.ready = files.runtime().then((runtime) => this.ask({ runtime }, [runtime]));
  }

  /** The numbers that one example of the input has. */
  load(name: string): Promise<number> {
    let size = this.loaded.get(name);
    if (!size) {
      size = Promise.all([this.files.bytes(`${name}.onnx`), this.ready]).then(([file]) => this.ask<number>({ name, file }, [file]));
      size.catch(() => this.loaded.delete(name)); // it may be there the next time
      this.loaded.set(name, size);
    }
    return size;
  }

  async run(name: string, batch: Float32Array, n: number, labels: Labels): Promise<Float32Array> {
    await this.load(name);
    return this.ask({ name, batch, n, labels, pixels: false });
  }

  /** The result, of images, as bytes (n, h, w, c). */
  async pixels(name: string, batch: Float32Array, n: number, labels: Labels): Promise<Uint8Array> {
    await this.load(name);
    return this.ask({ name, batch, n, labels, pixels: true });
  }

  close(): void {
    this.worker.terminate();
  }

  private ask<T>(question: Question, transfer: Transferable[] = []): Promise<T> {
    const id = ++this.id;
    return new Promise<T>((resolve, reject) => {
      this.open.set(id, { resolve, reject });
      this.worker.postMessage({ ...question, id }, transfer);
    });
  }
}

/** What a model is told as its files take it: places among the values, -1 of none; of numbers themselves, NaN of none. */
function spoken(space: Space, { condition, guidance }: Told): Labels {
  const values = space.condition.map(({ name, values, number }) => {
    const value = condition[name];
    return number ? Number(value ?? NaN) : values.indexOf(value ?? "");
  });
  return { values, guidance };
}

export class OnnxBackend implements Backend {
  readonly thumbnails: string;
  readonly range?: readonly [number, number];
  readonly encode?: (image: Blob, told: Told) => Promise<Encoded>;
  readonly denoise?: (image: Blob, noise: number, seed: number, told: Told) => Promise<{ seen: string; noisy: string; denoised: string }>;
  private flying = false;
  private waiting: { z: Float32Array; n: number; labels: Labels; resolve(pixels: Uint8Array | null): void; reject(error: unknown): void } | null = null;

  /** Resolves when the first image can be made at once. Rejects where a file is missing, or the browser can't run it. */
  static async open(files: Files): Promise<OnnxBackend> {
    const space = JSON.parse(new TextDecoder().decode(await files.bytes("space.json"))) as ExportedSpace;
    const models = new Models(files);
    await models.pixels("decoder", Float32Array.from(space.mean), 1, spoken(space, { condition: {}, guidance: 1 }));
    return new OnnxBackend(files, space, models);
  }

  private constructor(
    private readonly files: Files,
    private readonly about: ExportedSpace,
    private readonly models: Models,
  ) {
    this.thumbnails = files.picture("atlas.png");
    const { shape, verbs, noise: kind, range } = about;
    if (range && range[1] - range[0] > 255) this.range = range; // a canvas has 8 bits
    if (verbs.includes("encode"))
      this.encode = async (image, told) => {
        const x = await read(image, shape);
        const labels = spoken(about, told);
        const code = await models.run("encoder", x, 1, labels);
        return { code, seen: address(x, shape), reconstruction: picture(await models.pixels("decoder", code, 1, labels), shape) };
      };
    if (verbs.includes("denoise") && kind)
      this.denoise = async (image, noise, seed, told) => {
        const x = await read(image, shape);
        const noisy = corrupt(x, kind, noise, new Random(seed));
        return { seen: address(x, shape), noisy: address(noisy, shape), denoised: picture(await models.pixels("denoiser", noisy, 1, spoken(about, told)), shape) };
      };
  }

  space(): Promise<Space> {
    return Promise.resolve(this.about);
  }

  async atlas(): Promise<Atlas | null> {
    return JSON.parse(new TextDecoder().decode(await this.files.bytes("atlas.json"))) as Atlas | null;
  }

  decode(z: Float32Array, n: number, told: Told): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      this.waiting?.resolve(null);
      this.waiting = { z, n, labels: spoken(this.about, told), resolve, reject };
      void this.next();
    });
  }

  private async next(): Promise<void> {
    if (this.flying) return;
    this.flying = true;
    for (let one; (one = this.waiting); ) {
      this.waiting = null;
      await this.models.pixels("decoder", one.z, one.n, one.labels).then(one.resolve, one.reject);
    }
    this.flying = false;
  }

  async samples(n: number, seed: number, told: Told): Promise<Float32Array[]> {
    const random = new Random(seed);
    const k = await this.models.load("prior");
    const codes = await this.models.run("prior", Float32Array.from({ length: n * k }, () => random.normal()), n, spoken(this.about, told));
    const d = codes.length / n;
    return Array.from({ length: n }, (_, i) => codes.slice(i * d, (i + 1) * d));
  }

  close(): void {
    this.waiting?.resolve(null);
    this.waiting = null;
    this.models.close();
  }
}

/** Random numbers of a seed (mulberry32). */
class Random {
  constructor(private state: number) {}

  /** U[0, 1). */
  uniform(): number {
    let t = (this.state = (this.state + 0x6d2b79f5) | 0);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** N(0, 1) (Box & Muller 1958). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}

/** As `corrupt` in src/ganvas/models/autoencoder.py, cut to [0, 1]. */
function corrupt(x: Float32Array, kind: ExportedSpace["noise"], level: number, random: Random): Float32Array {
  return x.map((value) => {
    if (kind === "gaussian") return Math.min(1, Math.max(0, value + level * random.normal()));
    const u = random.uniform();
    if (kind === "masking") return u < level ? 0 : value;
    return u < level / 2 ? 0 : u < level ? 1 : value;
  });
}

/** Float32 (c, h, w) in [0, 1] as the address of a picture. */
function address(x: Float32Array, shape: readonly number[]): string {
  const [channels, height, width] = shape as [number, number, number];
  const bytes = new Uint8ClampedArray(x.length);
  for (let i = 0; i < height * width; i++) for (let c = 0; c < channels; c++) bytes[i * channels + c] = 255 * x[c * height * width + i]!;
  return picture(bytes, shape);
}

/** Bytes (h, w, c) as the address of a picture. */
function picture(bytes: ArrayLike<number>, shape: readonly number[]): string {
  const [channels, height, width] = shape as [number, number, number];
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes[i * channels + (channels === 1 ? 0 : c)]!;
    image.data[4 * i + 3] = 255;
  }
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return canvas.toDataURL();
}
