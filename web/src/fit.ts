// An image file as a model sees it, by the same steps as src/ganvas/data/pixels.py: laid on white, made grey or colour,
// scaled (Lanczos) so that it covers the model's size, and cropped at its centre.

/** Bytes (h, w, c), row by row. */
export interface Pixels {
  data: Uint8Array;
  height: number;
  width: number;
  channels: number;
}

/** A file as float32 (c, h, w) in [0, 1]. Rejects what the browser can't read as an image. */
export async function read(file: Blob, shape: readonly number[]): Promise<Float32Array> {
  const [channels, height, width] = shape as [number, number, number];
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const fitted = fit(flat(data, canvas.height, canvas.width, channels), height, width);
  const x = new Float32Array(channels * height * width);
  for (let i = 0; i < height * width; i++) for (let c = 0; c < channels; c++) x[c * height * width + i] = fitted.data[i * channels + c]! / 255;
  return x;
}

/** RGBA without its alpha, in colour or grey (the luma of ITU-R 601-2, as Pillow has it). */
function flat(rgba: Uint8ClampedArray, height: number, width: number, channels: number): Pixels {
  const data = new Uint8Array(height * width * channels);
  for (let i = 0; i < height * width; i++) {
    if (channels === 1) data[i] = (19595 * rgba[4 * i]! + 38470 * rgba[4 * i + 1]! + 7471 * rgba[4 * i + 2]! + 0x8000) >> 16;
    else for (let c = 0; c < 3; c++) data[3 * i + c] = rgba[4 * i + c]!;
  }
  return { data, height, width, channels };
}

export function fit(image: Pixels, height: number, width: number): Pixels {
  if (image.height === height && image.width === width) return image;
  const scale = Math.min(image.width / width, image.height / height); // pixels of the image for one of the result
  const left = Math.max(0, (image.width - width * scale) / 2);
  const top = Math.max(0, (image.height - height * scale) / 2);
  const across = resample(image.width, left, image.width - left, width);
  const down = resample(image.height, top, image.height - top, height);
  const { channels } = image;
  const wide = pass(image.data, image.height, channels, image.width * channels, channels, across);
  const data = pass(wide, width, channels, channels, width * channels, down, width * channels);
  return { data, height, width, channels };
}

/** For each pixel of the result: the first pixel that it takes from, and their weights. */
type Taps = { first: number; weights: Float64Array }[];

function lanczos(x: number): number {
  if (x === 0) return 1;
  if (Math.abs(x) >= 3) return 0;
  const t = Math.PI * x;
  return (3 * Math.sin(t) * Math.sin(t / 3)) / (t * t);
}

function resample(size: number, from: number, to: number, out: number): Taps {
  const scale = (to - from) / out;
  const stretch = Math.max(1, scale);
  return Array.from({ length: out }, (_, i) => {
    const center = from + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - 3 * stretch + 0.5));
    const end = Math.min(size, Math.trunc(center + 3 * stretch + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, k) => lanczos((first + k - center + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => w / sum) };
  });
}

/**
 * Lines resampled along one direction, and rounded to bytes.
 *
 * @param lines How many there are; `line` bytes lie between two, `step` between two pixels of one.
 */
function pass(data: Uint8Array, lines: number, channels: number, line: number, step: number, taps: Taps, stepOut = channels): Uint8Array {
  const lineOut = stepOut === channels ? taps.length * channels : channels;
  const out = new Uint8Array(lines * taps.length * channels);
  for (let y = 0; y < lines; y++) {
    taps.forEach(({ first, weights }, x) => {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0, at = y * line + first * step + c; k < weights.length; k++, at += step) sum += weights[k]! * data[at]!;
        out[y * lineOut + x * stepOut + c] = Math.min(255, Math.max(0, Math.floor(sum + 0.5)));
      }
    });
  }
  return out;
}
