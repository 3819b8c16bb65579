/** Ledgers in folders on disk, for Node. The ledger itself is ledger.ts. */

import { folderDisk } from "./disk.node.ts";
import { type Ledger, type LedgerOptions, openLedgerOn } from "./ledger.ts";

export { folderDisk } from "./disk.node.ts";

/**
 * Opens the ledger in a folder, or begins one there.
 * @example const ledger = await openLedger("runs/7/ledger", { key: await readPrivateKey(pem), clock: Date.now });
 * @throws TamperError when what is there was altered, InputError when another process has it or the key is another
 */
export const openLedger = (folder: string, options: LedgerOptions): Promise<Ledger> =>
  openLedgerOn(folderDisk(folder), options);
