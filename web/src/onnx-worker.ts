// Runs ONNX files beside the page, so that a drag stays smooth while an image is made. It is built as a plain script
// within the page's own: a page from a disk may start that, and no module.

import * as ort from "onnxruntime-web/wasm";

/** Of each label that the model can be told a value, the same for all of a batch. */
export interface Labels {
  values: number[];
  guidance: number;
}
/** What the page asks: first the runtime, then files by name, then batches. Each is answered, in order. */
export type Ask = { id: number } & ({ runtime: ArrayBuffer } | { name: string; file: ArrayBuffer } | { name: string; batch: Float32Array; n: number; labels: Labels; pixels: boolean });
/** The result: float32, or as pixels bytes (n, h, w, c); of a file the numbers that an example of its input has. */
export type Answer = { id: number } & ({ result: Float32Array | Uint8Array | number } | { error: string });

const sessions = new Map<string, ort.InferenceSession>();

function inner(session: ort.InferenceSession): number[] {
  const [input] = session.inputMetadata;
  return input?.isTensor ? input.shape.slice(1).map(Number) : [];
}

/** What the file takes of label i, or after the last one of guidance. */
function label(session: ort.InferenceSession, i: number, { labels, n }: { labels: Labels; n: number }): ort.Tensor {
  const value = labels.values[i];
  const input = session.inputMetadata[i + 1];
  if (value === undefined) return new ort.Tensor("float32", [labels.guidance], []);
  if (input?.isTensor && input.type === "int64") return new ort.Tensor("int64", new BigInt64Array(n).fill(BigInt(value)), [n]);
  return new ort.Tensor("float32", new Float32Array(n).fill(value), [n]);
}

async function answer(ask: Ask): Promise<Float32Array | Uint8Array | number> {
  if ("runtime" in ask) {
    ort.env.wasm.wasmBinary = ask.runtime;
    ort.env.wasm.numThreads = 1; // more need a host that isolates the page, and a script that is a file
    ort.env.logLevel = "error";
    return 0;
  }
  if ("file" in ask) {
    const session = await ort.InferenceSession.create(ask.file, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    sessions.set(ask.name, session);
    return inner(session).reduce((a, b) => a * b, 1);
  }
  const session = sessions.get(ask.name)!;
  const [first, ...others] = session.inputNames;
  const inputs: Record<string, ort.Tensor> = { [first!]: new ort.Tensor("float32", ask.batch, [ask.n, ...inner(session)]) };
  others.forEach((name, i) => (inputs[name] = label(session, i, ask)));
  const output = Object.values(await session.run(inputs))[0]!;
  const values = output.data as Float32Array;
  return ask.pixels ? pixels(values, output.dims) : values.slice();
}

/** (n, c, h, w) in [0, 1] as bytes (n, h, w, c). */
function pixels(values: Float32Array, dims: readonly number[]): Uint8Array {
  const [n, channels, height, width] = dims as [number, number, number, number];
  const size = height * width;
  const bytes = new Uint8ClampedArray(values.length);
  for (let i = 0; i < n; i++)
    for (let c = 0; c < channels; c++)
      for (let p = 0, at = (i * channels + c) * size; p < size; p++, at++) bytes[(i * size + p) * channels + c] = 255 * values[at]!; // it rounds
  return new Uint8Array(bytes.buffer);
}

self.onmessage = async ({ data }: MessageEvent<Ask>) => {
  try {
    const result = await answer(data);
    self.postMessage({ id: data.id, result } satisfies Answer, { transfer: typeof result === "number" ? [] : [result.buffer] });
  } catch (error) {
    self.postMessage({ id: data.id, error: error instanceof Error ? error.message : String(error) } satisfies Answer);
  }
};
