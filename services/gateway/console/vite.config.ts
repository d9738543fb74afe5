import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

// Where `npm run dev` finds a running Sori. JSON is what its paths answer; the
// page itself comes from Vite.
const gateway = "http://127.0.0.1:8000";

/** Leaves a .br and a .gz beside every text, which the gateway sends to who takes them. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    enforce: "post", // after the style sheet is one
    generateBundle(_, bundle) {
      for (const [fileName, file] of Object.entries(bundle)) {
        if (/\.(js|css|svg)$/.test(fileName)) {
          const text = file.type === "chunk" ? file.code : file.source;
          this.emitFile({ type: "asset", fileName: `${fileName}.br`, source: brotliCompressSync(text) });
          this.emitFile({ type: "asset", fileName: `${fileName}.gz`, source: gzipSync(text, { level: 9 }) });
        }
      }
    },
  };
}

export default defineConfig(({ command }) => ({
  // A build's files are named relative to the page, and the gateway puts before
  // that where they are: under /console/, behind a prefix where it has one.
  base: command === "build" ? "./" : "/console/",
  plugins: [compressed()],
  build: {
    target: "es2022",
    // Nothing becomes a data: URL, which the page's Content-Security-Policy forbids.
    assetsInlineLimit: 0,
    // One style sheet in one request; a preload helper would need none of it.
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  server: { proxy: { "^/(tokens|scripts|actors|jobs|uploads|limits|me|console/config\\.json)": gateway } },
}));
