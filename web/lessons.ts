// A Vite plugin: what lies in results/ becomes part of the page, as lessons.json and lessons/NAME.png.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

/** @param folder Where `ganvas reproduce --out` wrote a NAME.json and NAME.png for each figure. */
export function lessons(folder: string): Plugin {
  const read = (): { name: string; lecture: string[] }[] =>
    readdirSync(folder)
      .filter((file) => file.endsWith(".json"))
      .map((file) => JSON.parse(readFileSync(join(folder, file), "utf8")))
      .filter((found) => found.lecture && found.measures)
      .map((found) => ({ ...found, size: size(join(folder, `${found.name}.png`)) }))
      .sort((a, b) => order(a.lecture[0]) - order(b.lecture[0]) || a.name.localeCompare(b.name));
  // The lecture's rows first, then the papers'.
  const order = (row: string): number => (row[0] === "L" ? 0 : 1000) + Number(row.slice(1));

  return {
    name: "lessons",
    generateBundle() {
      const found = read();
      this.emitFile({ type: "asset", fileName: "lessons.json", source: JSON.stringify(found) });
      for (const { name } of found) this.emitFile({ type: "asset", fileName: `lessons/${name}.png`, source: readFileSync(join(folder, `${name}.png`)) });
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const picture = /^\/lessons\/([\w-]+)\.png$/.exec(request.url ?? "");
        if (picture) response.end(readFileSync(join(folder, `${picture[1]}.png`)));
        else if (request.url === "/lessons.json") response.end(JSON.stringify(read()));
        else next();
      });
    },
  };
}

/** Width and height of a PNG, from its header: the page leaves room for a picture that is not there yet. */
function size(file: string): [number, number] {
  const head = readFileSync(file).subarray(16, 24);
  return [head.readUInt32BE(0), head.readUInt32BE(4)];
}
