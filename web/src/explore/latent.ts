// The mathematics of the Explore page, pure: codes in, codes out. A code is a vector of d numbers; several are an array
// of codes. What has a counterpart in `ganvas.explore` gives the same codes.

export type Code = ArrayLike<number>;

/** A number as addresses hold it: five significant digits. What is shown is decoded from what the address says. */
export function rounded(x: number): number {
  return Math.abs(x) < 1e-6 ? 0 : Number(x.toPrecision(5));
}

/** Codes (n of d) one after the other, as a decoder takes them. */
export function flat(codes: Code[]): Float32Array {
  const d = codes[0]?.length ?? 0;
  const all = new Float32Array(codes.length * d);
  codes.forEach((code, i) => all.set(code, i * d));
  return all;
}

/** P(Z <= z) of N(0, 1), to double precision (Marsaglia 2004, "Evaluating the normal distribution"). */
export function normalShare(z: number): number {
  if (z < -8) return 0;
  if (z > 8) return 1;
  let [sum, last, term, i] = [z, 0, z, 1];
  while (sum !== last) {
    i += 2;
    term *= (z * z) / i;
    last = sum;
    sum += term;
  }
  return 0.5 + sum * Math.exp(-0.5 * z * z - 0.91893853320467274178);
}

const polynomial = (r: number, coefficients: number[]) => coefficients.reduce((sum, c) => sum * r + c, 0);

/** The z below which lies the share p of N(0, 1), to about 1e-16 (Wichura 1988, algorithm AS 241). */
export function normalInverse(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (
      (q *
        polynomial(
          r,
          [
            2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
            1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.387132872796366608,
          ],
        )) /
      polynomial(
        r,
        [
          5.226495278852854561e3, 2.8729085735721942674e4, 3.930789580009271061e4, 2.1213794301586595867e4,
          5.3941960214247511077e3, 6.871870074920579083e2, 4.2313330701600911252e1, 1,
        ],
      )
    );
  }
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  const tail =
    r <= 5
      ? polynomial(
          r - 1.6,
          [
            7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.4178072517745061177e-1, 1.27045825245236838258,
            3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734,
          ],
        ) /
        polynomial(
          r - 1.6,
          [
            1.05075007164441684324e-9, 5.475938084995344946e-4, 1.51986665636164571966e-2, 1.4810397642748007459e-1,
            6.8976733498510000455e-1, 1.6763848301838038494, 2.05319162663775882187, 1,
          ],
        )
      : polynomial(
          r - 5,
          [
            2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.2426609473880784386e-3, 2.6532189526576123093e-2,
            2.9656057182850489123e-1, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772,
          ],
        ) /
        polynomial(
          r - 5,
          [
            2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
            1.48753612908506148525e-2, 1.3692988092273580531e-1, 5.9983220655588793769e-1, 1,
          ],
        );
  return q < 0 ? -tail : tail;
}

/** How a place on one side of the plane, from 0 to 1, is a value of z. */
export interface Scale {
  low: number;
  high: number;
  value(place: number): number;
  place(value: number): number;
}

export function linearScale(low: number, high: number): Scale {
  return { low, high, value: (place) => low + place * (high - low), place: (value) => (value - low) / (high - low) };
}

/** The scale on which equal lengths are equal shares of N(0, 1), ended at 3 standard deviations. */
export const normalScale: Scale = {
  low: -3,
  high: 3,
  value: (place) => Math.max(-3, Math.min(3, normalInverse(Math.max(1e-9, Math.min(1 - 1e-9, place))))),
  place: normalShare,
};

/**
 * The n * n codes, row by row, at the inverse CDF of a regular grid on (0, 1)^2: z1 grows to the right, z2 upwards
 * (Kingma & Welling 2013, figure 4).
 */
export function manifold(n: number, inverse: (share: number) => number): number[][] {
  const steps = Array.from({ length: n }, (_, i) => inverse((i + 0.5) / n));
  return [...steps].reverse().flatMap((up) => steps.map((right) => [right, up]));
}

/** (1 - t) a + t b. */
export function between(a: Code, b: Code, t: number): number[] {
  return Array.from(a, (x, i) => (1 - t) * x + t * b[i]!);
}

export function length(a: Code): number {
  return Math.sqrt(Array.from(a).reduce((sum, x) => sum + x * x, 0));
}

/** On the arc from a (t = 0) to b (t = 1) (White 2016, section 2.1); parallel or opposite codes have none: linear. */
export function spherical(a: Code, b: Code, t: number): number[] {
  const [of, to] = [length(a) || 1, length(b) || 1];
  const apart = length(Array.from(a, (x, i) => x / of - b[i]! / to));
  const joint = length(Array.from(a, (x, i) => x / of + b[i]! / to));
  const angle = 2 * Math.atan2(apart, joint);
  const sine = Math.sin(angle);
  if (sine < 1e-6) return between(a, b, t);
  const [from, towards] = [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  return Array.from(a, (x, i) => from * x + towards * b[i]!);
}

/** `steps` codes from a to b, both ends included. */
export function path(a: Code, b: Code, steps: number, kind: "linear" | "spherical"): number[][] {
  const at = kind === "spherical" ? spherical : between;
  return Array.from({ length: steps }, (_, i) => at(a, b, i / (steps - 1)));
}

/** The n * n codes, row by row, of a + u (b - a) + v (c - a): a top left, b top right, c bottom left. */
export function planeThrough(a: Code, b: Code, c: Code, n: number): number[][] {
  return Array.from({ length: n * n }, (_, i) => {
    const [u, v] = [(i % n) / (n - 1), Math.floor(i / n) / (n - 1)];
    return Array.from(a, (x, j) => x + u * (b[j]! - x) + v * (c[j]! - x));
  });
}

export function mean(codes: Code[]): number[] {
  return Array.from(codes[0] ?? [], (_, i) => codes.reduce((sum, code) => sum + code[i]!, 0) / codes.length);
}

/** a + scale b. */
export function plus(a: Code, b: Code, scale = 1): number[] {
  return Array.from(a, (x, i) => x + scale * b[i]!);
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A draw from N(0, 1). */
export function gauss(uniform: () => number): number {
  return normalInverse(Math.max(1e-12, uniform()));
}

/**
 * mean(a) - mean(b) + mean(c) as nine codes to be seen as 3 x 3: eight have U(-noise, noise) added to each dimension,
 * the fifth, in the middle, has none (Radford et al. 2015, figure 7).
 */
export function arithmetic(a: Code[], b: Code[], c: Code[], noise: number, seed: number): number[][] {
  const middle = plus(plus(mean(a), mean(b), -1), mean(c));
  const uniform = random(seed);
  return Array.from({ length: 9 }, (_, i) => (i === 4 ? middle : middle.map((x) => x + (2 * uniform() - 1) * noise)));
}

/** The same on images of bytes themselves, cut to 0 ... 255. */
export function pixelArithmetic(a: Code[], b: Code[], c: Code[]): Uint8Array {
  return Uint8Array.from(arithmetic(a, b, c, 0, 0)[4]!, (x) => Math.max(0, Math.min(255, Math.round(x))));
}

/** Where a code lies on a plane (2 x d): plane (code - mean). */
export function onPlane(plane: number[][], centre: Code, code: Code): [number, number] {
  const [x = 0, y = 0] = plane.map((axis) => axis.reduce((sum, v, i) => sum + v * (code[i]! - centre[i]!), 0));
  return [x, y];
}

/** The code moved by (x, y) along the plane's coordinates; what lies off the plane stays. */
export function movedOnPlane(plane: number[][], code: Code, x: number, y: number): number[] {
  const dot = (i: number, j: number) => plane[i]!.reduce((sum, v, k) => sum + v * plane[j]![k]!, 0);
  const [p, q, r] = [dot(0, 0), dot(0, 1), dot(1, 1)]; // the axes need not be orthonormal
  const det = p * r - q * q;
  const flat = det < 1e-12 * p * p; // one latent dimension has one axis
  const [s, t] = flat ? [x / p, 0] : [(r * x - q * y) / det, (p * y - q * x) / det];
  return Array.from(code, (value, i) => value + s * plane[0]![i]! + t * plane[1]![i]!);
}

/** A step without what it has along the `fixed` directions, which need not be orthogonal (Gram-Schmidt). */
export function kept(step: Code, fixed: Code[]): number[] {
  const without = (v: Code, axes: number[][]) =>
    axes.reduce((rest, axis) => plus(rest, axis, -rest.reduce((sum, x, i) => sum + x * axis[i]!, 0)), Array.from(v));
  const axes: number[][] = [];
  for (const direction of fixed) {
    const rest = without(direction, axes);
    const size = length(rest);
    if (size > 1e-9 * (length(direction) || 1)) axes.push(rest.map((x) => x / size));
  }
  return without(step, axes);
}
