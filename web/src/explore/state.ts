// What the address says of the Explore page, and back.

import type { Params } from "../app";
import type { Space } from "../types";
import { rounded, type Code } from "./latent";

export const TRAYS = ["A", "B", "C"] as const;
export type Tray = (typeof TRAYS)[number];
export const TOOLS = ["arithmetic", "between", "three", "image", "nearest"] as const;
export type Tool = (typeof TOOLS)[number];

export interface State {
  /** The code; what is shown is decoded from it and the turns. */
  z: number[];
  /** What the model is told: values of labels by their names, in the order of its condition. */
  given: Record<string, string>;
  guidance: number;
  /** How much of each direction from labels is added. */
  turn: Record<string, number>;
  /** Sliders that random and nudge leave alone: "z3", "p1". */
  lock: string[];
  /** The plane without the grid of images, its scale linear. */
  plain: boolean;
  /** The label that colours the map; "" is the first. */
  by: string;
  /** Sliders for all dimensions, not only those that matter. */
  more: boolean;
  /** Sliders for principal components in place of dimensions. */
  components: boolean;
  trays: Record<Tray, number[][]>;
  tool: Tool;
  /** Ends of an interpolation, and the plane's three points: see points.ts. */
  ends: string[];
  kind: "linear" | "spherical";
  corners: string[];
  side: number;
  /** Of the noise round A - B + C. */
  seed: number;
  /** What the model sees of an image that was dropped in: a PNG in base64url, "" of none. */
  image: string;
  /** That is put on it before it is denoised. */
  noise: number;
}

const KEYS = [
  "z",
  "given",
  "guidance",
  "turn",
  "lock",
  "plain",
  "by",
  "more",
  "pc",
  ...TRAYS,
  "tool",
  "ends",
  "kind",
  "corners",
  "side",
  "seed",
  "image",
  "noise",
];

export const SIDES = [4, 6, 8, 10, 12];
const NOISE = 0.3;
export const GUIDANCE = 3; // at most

export function write(z: Code): string {
  return Array.from(z, (x) => String(rounded(x))).join();
}

function numbers(text: string, d: number): number[] | null {
  const z = text.split(",").map(Number);
  return z.length === d && z.every(Number.isFinite) ? z.map(rounded) : null;
}

function given(text: string, condition: Space["condition"]): Record<string, string> {
  const said = new Map(text.split(";").map((part) => part.split(":").map(unescaped) as [string, string]));
  const fits = ({ name, values, number }: Space["condition"][number]) => {
    const value = said.get(name);
    return value !== undefined && (number ? value !== "" && Number.isFinite(Number(value)) : values.includes(value));
  };
  return Object.fromEntries(condition.filter(fits).map(({ name }) => [name, said.get(name)!]));
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The state that an address describes; what it does not say, or says wrongly, is as at the beginning. */
export function read(params: Params, space: Space, start: Code, ends: string[], corners: string[]): State {
  const d = space.latent;
  const codes = (text: string | null) =>
    (text ?? "")
      .split(";")
      .flatMap((part) => [numbers(part, d) ?? []])
      .filter((z) => z.length);
  const list = (name: string, n: number, otherwise: string[]) => {
    const given = (params.get(name) ?? "").split(",").filter(Boolean);
    return given.length === n ? given : otherwise;
  };
  const turn: Record<string, number> = {};
  for (const part of (params.get("turn") ?? "").split(";")) {
    const [name = "", amount = ""] = part.split(":");
    if (name && Number.isFinite(Number(amount))) turn[name] = Number(amount);
  }
  const tool = params.get("tool") as Tool;
  const side = Number(params.get("side"));
  const noise = Number(params.get("noise") ?? NaN);
  const guidance = Number(params.get("guidance") ?? NaN);
  return {
    z: numbers(params.get("z") ?? "", d) ?? Array.from(start, rounded),
    given: given(params.get("given") ?? "", space.condition),
    guidance: guidance >= 0 && guidance <= GUIDANCE ? guidance : 1,
    turn,
    lock: (params.get("lock") ?? "").split(",").filter(Boolean),
    plain: params.has("plain"),
    by: params.get("by") ?? "",
    more: params.has("more"),
    components: params.has("pc"),
    trays: { A: codes(params.get("A")), B: codes(params.get("B")), C: codes(params.get("C")) },
    tool: TOOLS.includes(tool) ? tool : "arithmetic",
    ends: list("ends", 2, ends),
    kind: params.get("kind") === "spherical" ? "spherical" : "linear",
    corners: list("corners", 3, corners),
    side: SIDES.includes(side) ? side : 8,
    seed: Math.abs(Math.trunc(Number(params.get("seed")))) || 0,
    image: params.get("image") ?? "",
    noise: noise >= 0 && noise <= 1 ? noise : NOISE,
  };
}

/** The parameters of a state, those of the page that are not its own kept; what is as at the start is left out. */
export function wrote(state: State, others: Params, ends: string[], corners: string[]): Record<string, string> {
  const kept = Object.fromEntries([...others].filter(([name]) => !KEYS.includes(name)));
  const turns = Object.entries(state.turn).filter(([, amount]) => amount);
  const own: Record<string, string> = {
    z: write(state.z),
    given: Object.entries(state.given).map((pair) => pair.map(encodeURIComponent).join(":")).join(";"),
    guidance: state.guidance === 1 ? "" : String(state.guidance),
    turn: turns.map(([name, amount]) => `${name}:${rounded(amount)}`).join(";"),
    lock: state.lock.join(),
    plain: state.plain ? "1" : "",
    by: state.by,
    more: state.more ? "1" : "",
    pc: state.components ? "1" : "",
    ...Object.fromEntries(TRAYS.map((name) => [name, state.trays[name].map(write).join(";")])),
    tool: state.tool === "arithmetic" ? "" : state.tool,
    ends: state.ends.join() === ends.join() ? "" : state.ends.join(),
    kind: state.kind === "linear" ? "" : state.kind,
    corners: state.corners.join() === corners.join() ? "" : state.corners.join(),
    side: state.side === 8 ? "" : String(state.side),
    seed: state.seed ? String(state.seed) : "",
    image: state.image,
    noise: state.noise === NOISE ? "" : String(state.noise),
  };
  return { ...kept, ...Object.fromEntries(Object.entries(own).filter(([, value]) => value)) };
}
