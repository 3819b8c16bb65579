/** ONNX Runtime's native CPU kernels in Node. The sharing with the browser build is in ort.ts. */

import type { Backend } from "../backend.ts";
import { ortBackend, type ProfileSink } from "./ort.ts";
import { type DiskOptions, placeOnDisk } from "./ort-weights.node.ts";

// Asked of the process, not imported: a bundler for the browser would follow imports from openBackend into Node.
const { createRequire } = process.getBuiltinModule("node:module");
const ort: unknown = createRequire(import.meta.url)("onnxruntime-node");

/**
 * The native backend. Importing this file throws where the package or its binary is missing.
 * @param options.weights where weights that have to be computed are kept
 */
export const ortNode = ({ weights }: { weights?: DiskOptions } = {}): Backend =>
  ortBackend("ort-node", ort, {
    session: { extra: { "session.force_spinning_stop": "1" } },
    stopCopies: true,
    placeWeights: placeOnDisk(weights),
    profileSink,
  });

/** A private folder in the system's temporary place: the runtime adds date and ending to the prefix. */
async function profileSink(): Promise<ProfileSink> {
  const fs = process.getBuiltinModule("node:fs/promises");
  const { tmpdir } = process.getBuiltinModule("node:os");
  const { join } = process.getBuiltinModule("node:path");
  const folder = await fs.mkdtemp(join(tmpdir(), "underpaint-profile-"));
  return {
    prefix: join(folder, "run"),
    async read() {
      try {
        const [file] = await fs.readdir(folder);
        return file ? await fs.readFile(join(folder, file), "utf8") : "";
      } finally {
        await fs.rm(folder, { recursive: true, force: true });
      }
    },
  };
}
