/** ONNX Runtime's native CPU kernels in Node. The sharing with the browser build is in ort.ts. */

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import type { Backend } from "../backend.ts";
import { ortBackend, type ProfileSink } from "./ort.ts";

/** The native backend. Importing this file throws where the package or its binary is missing. */
export const ortNode = (): Backend => ortBackend("ort-node", ort, { profileSink });

/** A private folder in the system's temporary place: the runtime adds date and ending to the prefix. */
async function profileSink(): Promise<ProfileSink> {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-profile-"));
  return {
    prefix: join(folder, "run"),
    async read() {
      try {
        const [file] = await readdir(folder);
        return file ? await readFile(join(folder, file), "utf8") : "";
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}
