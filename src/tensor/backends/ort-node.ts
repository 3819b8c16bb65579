/** ONNX Runtime's native CPU kernels in Node. The sharing with the browser build is in ort.ts. */

import * as ort from "onnxruntime-node";
import type { Backend } from "../backend.ts";
import { ortBackend } from "./ort.ts";

export const ortNode = (): Backend => ortBackend("ort-node", ort);
