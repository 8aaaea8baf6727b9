// Several runs in one parameter of the address: ids with commas between them.

export function joinIds(ids: Iterable<string>): string {
  return [...ids].map((id) => id.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
}

export function splitIds(text: string | null): string[] {
  return (text ?? "").split(",").filter(Boolean).map((id) => id.replaceAll("%2C", ",").replaceAll("%25", "%"));
}
