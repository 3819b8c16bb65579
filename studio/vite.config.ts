/** How the studio is built: static files that work from any folder, in dist/studio beside the library. */

import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** `npx vite studio` beside `underpaint serve --cors http://127.0.0.1:5173`. */
const SERVER = "http://127.0.0.1:7860";
const CONFIG = JSON.stringify({ engine: "server", models: [] });

export default defineConfig({
  root: here("."),
  base: "./",
  build: {
    outDir: here("../dist/studio"),
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0, // the page allows no data: addresses
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
  plugins: [
    svelte(),
    {
      name: "studio.json",
      configureServer: ({ middlewares }) => {
        middlewares.use("/studio.json", (_, answer) => {
          answer.setHeader("Content-Type", "application/json").end(CONFIG);
        });
      },
    },
  ],
  server: {
    host: "127.0.0.1",
    proxy: Object.fromEntries(
      ["/v1", "/jobs", "/runs", "/health"].map((path) => [
        path,
        { target: SERVER, changeOrigin: true },
      ]),
    ),
  },
});
