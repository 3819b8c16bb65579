/** Node's own modules, fetched when first used. Not imported: bundlers for the browser would follow, and fail. */

import { InputError } from "./errors.ts";

function host(): NodeJS.Process {
  // Some bundlers put a `process` into pages; this function they leave out.
  if (typeof process !== "undefined" && typeof process.getBuiltinModule === "function")
    return process;
  throw new InputError(
    "files on disk need Node.js 20.16 or newer, which this is not; in a browser give the bytes themselves",
  );
}

/** `node.fs.readFile(path)`. @throws InputError in a browser */
export const node = {
  get fs() {
    return host().getBuiltinModule("node:fs/promises");
  },
  get fsSync() {
    return host().getBuiltinModule("node:fs");
  },
  get url() {
    return host().getBuiltinModule("node:url");
  },
  get path() {
    return host().getBuiltinModule("node:path");
  },
  get os() {
    return host().getBuiltinModule("node:os");
  },
  get util() {
    return host().getBuiltinModule("node:util");
  },
  get crypto() {
    return host().getBuiltinModule("node:crypto");
  },
  get zlib() {
    return host().getBuiltinModule("node:zlib");
  },
  get module() {
    return host().getBuiltinModule("node:module");
  },
};
