// Numbers as a person reads them.

/** Four digits that matter: "152.1", "0.06759", "1.2e-7"; "–" where there is none. */
export function figure(value: number | null | undefined, digits = 4): string {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2).replace("e+", "e");
  const text = Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 12 });
  return text.replace("-", "−");
}

/** A count with k and M where it is long, for an axis. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  return value.toLocaleString("en");
}
