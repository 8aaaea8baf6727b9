// The one thing that pages ask a model through. Codes are float32, row by row; images are uint8 (n, h, w, c).

import type { Atlas, Space } from "./types";

export interface Encoded {
  code: Float32Array;
  seen: string; // address of a picture
  reconstruction: string;
}

/** What a model is told: values of labels by their names, of others nothing; and how much images show of it. */
export interface Told {
  readonly condition: Readonly<Record<string, string>>;
  readonly guidance: number;
}

export interface Backend {
  space(): Promise<Space>;
  /** Null where there is no map: points, or a model that neither encodes nor samples. */
  atlas(): Promise<Atlas | null>;
  /** The address of the atlas's thumbnails. */
  readonly thumbnails: string;
  /**
   * The images of n codes. Calls follow each other as fast as they like: one is under way at a time, the latest of those
   * that wait is taken, and the others end with null.
   */
  decode(z: Float32Array, n: number, told: Told): Promise<Uint8Array | null>;
  /** n codes of P(z). */
  samples(n: number, seed: number, told: Told): Promise<Float32Array[]>;
  /** What was black and white in training, where pictures are read in fewer levels than it has. */
  readonly range?: readonly [number, number];
  encode?(image: Blob, told: Told): Promise<Encoded>;
  denoise?(image: Blob, noise: number, seed: number, told: Told): Promise<{ seen: string; noisy: string; denoised: string }>;
  neighbours?(codes: Float32Array, n: number, k: number, told: Told): Promise<{ rows: number[][]; distances: number[][]; images: string[][] }>;
  close(): void;
}
