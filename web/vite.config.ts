import { defineConfig } from "vite";

// One page for the server; relative addresses, so that an exported folder works wherever it lies.
export default defineConfig({
  base: "./",
  build: { outDir: "../src/ganvas/studio/page", emptyOutDir: true, target: "es2022", chunkSizeWarningLimit: 700 },
  server: { proxy: { "/api": "http://127.0.0.1:8765", "/ws": { target: "ws://127.0.0.1:8765", ws: true } } },
});
