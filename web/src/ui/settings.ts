// A recipe as a table: names with dots, and values as they stand in recipe.json.

export function flatten(value: unknown, path = ""): [string, string][] {
  if (Array.isArray(value) && value.some((item) => typeof item === "object" && item !== null)) {
    return value.flatMap((item, i) => flatten(item, `${path}.${i + 1}`));
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, item]) => flatten(item, path ? `${path}.${key}` : key));
  }
  return [[path, typeof value === "string" ? value : Array.isArray(value) ? value.join(", ") : String(value)]];
}
