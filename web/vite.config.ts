import { defineConfig } from "vite";
import { lessons } from "./lessons.ts";

// One page for the server; relative addresses, so that an exported folder works wherever it lies.
export default defineConfig({
  base: "./",
  plugins: [lessons("../results")],
  build: {
    outDir: "../src/ganvas/studio/page",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // these know light-dark()
    license: { fileName: "licenses.md" },
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { "/api": "http://127.0.0.1:8765", "/ws": { target: "ws://127.0.0.1:8765", ws: true } } },
});
