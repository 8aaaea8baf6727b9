// The map's data as the page uses it.

import type { Atlas } from "../types";
import { movedOnPlane, onPlane, type Code } from "./latent";

function floats(text: string): Float32Array {
  const raw = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float32Array(raw.buffer); // little endian, as all browsers' machines
}

export class Chart {
  readonly n: number;
  private codes: Float32Array;
  /** x and y of each point, one after the other. */
  readonly points: Float32Array;

  constructor(
    readonly atlas: Atlas,
    private latent: number,
  ) {
    this.codes = floats(atlas.codes);
    this.points = floats(atlas.points);
    this.n = this.points.length / 2;
  }

  code(i: number): number[] {
    return [...this.codes.subarray(i * this.latent, (i + 1) * this.latent)];
  }

  where(code: Code): [number, number] {
    return onPlane(this.atlas.plane, this.atlas.mean, code);
  }

  moved(code: Code, x: number, y: number): number[] {
    return movedOnPlane(this.atlas.plane, code, x, y);
  }

  /** The point nearest to (x, y), where lengths are weighed by `scale` a unit. */
  nearest(x: number, y: number, scale: [number, number] = [1, 1]): { index: number; distance: number } {
    let [index, best] = [0, Infinity];
    for (let i = 0; i < this.n; i++) {
      const [u, v] = [(this.points[2 * i]! - x) * scale[0], (this.points[2 * i + 1]! - y) * scale[1]];
      const square = u * u + v * v;
      if (square < best) [index, best] = [i, square];
    }
    return { index, distance: Math.sqrt(best) };
  }

  /** The labels of a point, for people. */
  label(i: number, name?: string): string {
    return this.atlas.labels
      .filter((label) => !name || label.name === name)
      .map((label) => label.values[label.of[i]!] ?? "")
      .join(", ");
  }
}
