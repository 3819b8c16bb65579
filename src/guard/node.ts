/** Public names of the guard that read and write files on disk, for Node. */

export { folderDisk, openLedger } from "./ledger/node.ts";
export { filesUnder, scanFile } from "./scan/node.ts";
export {
  type SignOptions,
  signModel,
  type Verified,
  verifyModel,
} from "./sign/folder.node.ts";
