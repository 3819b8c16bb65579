/** Files and folders on disk for the scanner: which files there are, and one report for each. For Node only. */

import { node } from "../../formats/builtins.node.ts";
import { openFile } from "../../formats/node.ts";
import { InputError } from "./bytes.ts";
import type { ScanLimits } from "./part.ts";
import type { FileReport } from "./report.ts";
import { scanSource } from "./scan.ts";

/** Folders that hold no models but very many files. */
const SKIPPED = new Set([".git", "node_modules", "__pycache__", ".venv"]);

/**
 * All plain files under a path, in order of their names. Links to files are followed, links to folders are not: they
 * may lead in circles. Hidden files are files too.
 */
export async function* filesUnder(path: string): AsyncGenerator<string> {
  const info = await node.fs.stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new InputError(
      `${path}: ${error.code === "ENOENT" ? "there is no such file or folder" : `cannot be read (${error.code})`}`,
      { path },
    );
  });
  if (!info.isDirectory()) {
    yield path;
    return;
  }
  yield* walk(path);
}

async function* walk(folder: string): AsyncGenerator<string> {
  const entries = await node.fs.readdir(folder, { withFileTypes: true }).catch(() => undefined);
  // A folder that cannot be read is reported like a file that cannot: nobody knows what is in it.
  if (!entries) return yield folder;
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const path = node.path.join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED.has(entry.name)) yield* walk(path);
    } else if (entry.isFile()) yield path;
    else if (entry.isSymbolicLink()) {
      const target = await node.fs.stat(path).catch(() => undefined);
      if (target?.isFile()) yield path;
      else if (!target) yield path; // a broken link is reported as unreadable
    }
  }
}

/** Scans one file on disk by range. What cannot be opened is a report of its own: unreadable. */
export async function scanFile(
  path: string,
  options: { limits?: Partial<ScanLimits>; signal?: AbortSignal } = {},
): Promise<FileReport> {
  try {
    // Opening a pipe would wait for whoever writes into it.
    const info = await node.fs.stat(path).catch(() => undefined);
    if (info && !info.isFile())
      throw new InputError(`${path}: it is not a plain file that can be read`, { path });
    const source = await openFile(path);
    try {
      return await scanSource(source, { name: path, ...options });
    } finally {
      await source.close();
    }
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const link = await node.fs.lstat(path).catch(() => undefined);
    const target = link?.isSymbolicLink()
      ? await node.fs.realpath(path).catch(() => "nothing")
      : "";
    return {
      file: path,
      verdict: "unreadable",
      format: "unknown",
      bytes: 0,
      findings: [
        {
          rule: "unreadable",
          severity: "unreadable",
          part: "",
          at: 0,
          effect: "cannot be judged",
          why: target ? `a link to ${target}` : error.message,
        },
      ],
      omitted: 0,
    };
  }
}
