/** TensorFlow SavedModel and graphs: operators that leave the graph, found by their encoded names. Nothing is executed. */

import { byteText, InputError } from "./bytes.ts";
import { found, type Part, unreadable } from "./part.ts";
import { Bytes, type Field, fields } from "./protobuf-walk.ts";
import { scanTexts } from "./texts.ts";

/** What operators do besides computing with tensors. */
const OPERATORS: Readonly<Record<string, string>> = {
  ReadFile: "reads any file of the machine",
  WriteFile: "writes any file of the machine",
  MatchingFiles: "lists files of the machine",
  PyFunc: "calls a Python function",
  PyFuncStateless: "calls a Python function",
  EagerPyFunc: "calls a Python function",
  LoadLibrary: "loads native code",
  TRTEngineOp: "loads native code",
  CustomOp: "needs native code",
  WholeFileReader: "reads any file of the machine",
  WholeFileReaderV2: "reads any file of the machine",
  TextLineReader: "reads any file of the machine",
  TextLineReaderV2: "reads any file of the machine",
  FixedLengthRecordReader: "reads any file of the machine",
  FixedLengthRecordReaderV2: "reads any file of the machine",
  TFRecordReader: "reads any file of the machine",
  TFRecordReaderV2: "reads any file of the machine",
  LMDBReader: "reads any file of the machine",
  TextLineDataset: "reads any file of the machine",
  TFRecordDataset: "reads any file of the machine",
  FixedLengthRecordDataset: "reads any file of the machine",
  FixedLengthRecordDatasetV2: "reads any file of the machine",
  SqlDataset: "opens any database of the machine",
  CSVDataset: "reads any file of the machine",
  ImmutableConst: "maps any file of the machine into memory",
  SaveDataset: "writes any file of the machine",
  SaveDatasetV2: "writes any file of the machine",
  LoadDataset: "reads any file of the machine",
  DebugIdentity: "sends tensors to a URL",
  DebugIdentityV2: "sends tensors to a URL or file",
  DebugIdentityV3: "sends tensors to a URL or file",
  CreateSummaryFileWriter: "writes any file of the machine",
  WriteGraphSummary: "writes any file of the machine",
  PrintV2: "may write to any file of the machine",
  FileSystemSetConfiguration: "changes how files are opened",
  RpcCall: "opens network connections",
  RpcClient: "opens network connections",
  RpcServer: "opens network connections",
  DataServiceDataset: "opens network connections",
  DataServiceDatasetV2: "opens network connections",
};

const WINDOW = 8 * 2 ** 20;
const OVERLAP = 256;
const SCANNED = 512 * 2 ** 20;

/** In NodeDef (and in functions) the operator is field 2: the byte 0x12, its length, its name. */
export async function scanTensorflow(part: Part): Promise<void> {
  const { source } = part;
  const seen = new Set<string>();
  for (let at = 0; at < Math.min(source.size, SCANNED); at += WINDOW - OVERLAP) {
    const text = byteText(await source.read(at, Math.min(WINDOW, source.size - at)));
    for (const [name, effect] of Object.entries(OPERATORS)) {
      const index = text.indexOf(`\x12${String.fromCharCode(name.length)}${name}`);
      if (index < 0 || seen.has(name)) continue;
      seen.add(name);
      found(part, "tf-operator", {
        severity: "malicious",
        at: at + index,
        effect: `${effect} (operator ${name})`,
        why: "models need operators on tensors only",
      });
    }
    scanKerasMetadata(part, text, at);
    if (text.length < WINDOW) break;
  }
  await checkShape(part);
}

/** SavedModels of Keras hold their layers as JSON text. */
function scanKerasMetadata(part: Part, text: string, at: number): void {
  for (const match of text.matchAll(/"class_name"\s*:\s*"(Lambda|TFOpLambda|SlicingOpLambda)"/g))
    found(part, "keras-layer", {
      severity: "malicious",
      at: at + match.index,
      effect: "runs Python bytecode or a named function that lies in the file",
      why: `a layer of class ${match[1]}`,
    });
  if (/\{\{|\{%/.test(text) && /__\w+__/.test(text)) {
    const from = text.search(/\{\{|\{%/);
    scanTexts(part, "text", text.slice(from, from + 4096), at + from);
  }
}

/** The outermost message must be one. */
async function checkShape(part: Part): Promise<void> {
  const { source } = part;
  try {
    for await (const field of fields(new Bytes(source), 0, source.size))
      void (field satisfies Field);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    unreadable(part, error.message, Number(error.data.at ?? 0));
  }
}
