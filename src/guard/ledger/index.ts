/** Public names of the ledger. Runs in the browser over a Disk of its own; folders on disk are node.ts. */

export { certifyLog, checkCertificate } from "./certificate.ts";
export {
  type Checkpoint,
  checkpointText,
  openCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  type VerifiedCheckpoint,
} from "./checkpoint.ts";
export { type Disk, memoryDisk } from "./disk.ts";
export {
  type Facts,
  KINDS,
  type Kind,
  type LedgerEntry,
  type LedgerRecord,
  openEntry,
} from "./entry.ts";
export { TamperError } from "./journal.ts";
export { type Ledger, type LedgerOptions, openLedgerOn, type Receipt } from "./ledger.ts";
export {
  consistencyProof,
  inclusionProof,
  leafHash,
  nodeHash,
  type Subtrees,
  type TreeHead,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";
export {
  formatNote,
  formatVkey,
  NOTE_TYPE,
  type Note,
  type NoteVerifier,
  noteVerifier,
  parseNote,
  parseVkey,
  signNote,
  verifyNote,
} from "./note.ts";
export { formatProof, parseProof, proveEntry, type TlogProof, verifyProof } from "./proof.ts";
export { type LedgerReader, readLedgerOn } from "./reader.ts";
export { type Problem, type VerifyStep, verifyLedgerOn } from "./verify.ts";
export {
  addCheckpoint,
  formatRequest,
  formatState,
  parseRequest,
  parseState,
  requestFor,
  type WitnessState,
  watch,
} from "./witness.ts";
