import { defineConfig } from "vite";

// The page of an exported model: one script and one style, so that ganvas can put them into a single file too. It is
// built after the studio's, whose build empties the folder above.
export default defineConfig({
  base: "./",
  publicDir: "notices", // onnxruntime-web's package has no text of its licence
  build: {
    outDir: "../src/ganvas/studio/page/exported",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    modulePreload: false,
    chunkSizeWarningLimit: 700,
    rolldownOptions: { input: "exported.html", output: { codeSplitting: false } },
  },
});
